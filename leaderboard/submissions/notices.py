"""What was found of entries that changes no score, and who took which back: read from their logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from competition.records.submission import NearCopyNotice, Notice, ReportedGapNotice, Withdrawal
from competition.rules import Task
from leaderboard.accounts.viewer import Viewer
from leaderboard.events import repository as events
from leaderboard.events.withholding import NEAR_COPY
from leaderboard.models import EventRow, Submission, TaskOutcome
from leaderboard.submissions import repository


class Findings:
    """What the logs of some submissions say, as far as the viewer may see it; three queries at most."""

    def __init__(self, session: Session, submissions: Sequence[Submission], viewer: Viewer) -> None:
        self._found: dict[str, list[EventRow]] = {submission.id: [] for submission in submissions}
        for row in events.found_on_the_way(session, list(self._found)):
            self._found[row.submission_id].append(row)
        copies = [row for rows in self._found.values() for row in rows if row.kind == NEAR_COPY]
        self._named = repository.named(session, {str(row.detail["other"]) for row in copies}, viewer)

    def of(self, submission: Submission, tasks: Sequence[Task], outcomes: Mapping[str, TaskOutcome]) -> list[Notice]:
        """The notices of one submission, oldest first, those about results only for these tasks."""
        titles = {task.id: task.title for task in tasks}
        found: list[Notice] = []
        for row in self._found[submission.id]:
            if row.kind == NEAR_COPY:
                found.append(self._near_copy(row))
            elif (task := str(row.detail["task"])) in titles and task in outcomes:
                verified = outcomes[task].value
                reported = verified + float(row.detail["reported_gap"])
                found.append(
                    ReportedGapNotice(task=task, title=titles[task], reported=reported, verified=verified, at=row.at)
                )
        return found

    def _near_copy(self, row: EventRow) -> NearCopyNotice:
        other = self._named.get(str(row.detail["other"]))
        return NearCopyNotice(
            other=None if other is None else other.id,
            other_account=None if other is None else other.account.name,
            distance=float(row.detail["distance"]),
            at=row.at,
        )


def withdrawals(session: Session, submissions: Sequence[Submission], *, with_reason: set[str]) -> dict[str, Withdrawal]:
    """The withdrawals among these submissions, with the reason only for those whose ids are given."""
    accounts = {submission.id: submission.account.name for submission in submissions}
    return {
        row.submission_id: Withdrawal(
            at=row.at,
            by_author=row.actor == accounts[row.submission_id],
            reason=row.detail.get("reason") if row.submission_id in with_reason else None,
        )
        for row in events.withdrawals(session, list(accounts))
    }
