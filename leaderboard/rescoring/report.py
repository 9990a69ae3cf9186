"""The diff report: every entry under both suites, by what this viewer may see.

Before publication it says what would change (organisers alone see it); afterwards scores and ranks are those of the
moment of publication, whatever has come into the table since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from competition.records.rescoring import ChangedEntry, ChangedTask, EntryState, RescoringReport, RescoringState
from competition.records.submission import Score
from competition.rules import Competition, Suite
from leaderboard.accounts.viewer import Viewer
from leaderboard.models import Evaluation, JobState, Rescoring, TaskOutcome
from leaderboard.rescoring import places, planning, repository, service
from leaderboard.rescoring.places import Place
from leaderboard.rescoring.repository import Rescored
from leaderboard.standings.service import own_score
from leaderboard.submissions.views import score_of
from leaderboard.visibility import is_tombstone, may_see_aggregate, open_tasks

_STATES = {
    JobState.READY: EntryState.WAITING,
    JobState.LEASED: EntryState.RUNNING,
    JobState.DONE: EntryState.DONE,
    JobState.DEAD: EntryState.FAILED,
    JobState.CANCELLED: EntryState.CANCELLED,
}
_LAST = 2**31


@dataclass(frozen=True)
class _Side:
    """What a viewer may see of the evaluations under one suite."""

    suite: Suite
    open: frozenset[str]
    aggregate: bool
    places: Mapping[str, Place]
    outcomes: Mapping[int, Mapping[str, TaskOutcome]]

    def score(self, submission: str, evaluation: Evaluation, complete: bool) -> Score | None:
        place = self.places.get(submission)
        value = evaluation.score if place is None else place.score
        if not (self.aggregate and complete) or value is None:
            return None
        own = own_score(evaluation)
        return own if own is not None and own.value == value else Score(value=value, interval=None)

    def rank(self, submission: str) -> int | None:
        place = self.places.get(submission)
        return place.rank if self.aggregate and place is not None else None

    def outcome(self, evaluation: Evaluation, task: str) -> TaskOutcome | None:
        return self.outcomes.get(evaluation.id, {}).get(task) if task in self.open else None


def build(session: Session, rescoring: Rescoring, viewer: Viewer) -> RescoringReport:
    """The report (the caller has made sure that the viewer may know of the re-scoring)."""
    before, after = service.rules_before(session, rescoring), service.competition_of(rescoring)
    rows = [
        each for each in repository.entries(session, rescoring.id, viewer) if not is_tombstone(each.submission, viewer)
    ]
    old_places, new_places = _places(session, rescoring, after, rows)
    ids = {evaluation.id for each in rows for evaluation in (each.before, each.after)}
    outcomes = repository.outcomes(session, ids)
    old, new = _side(before, viewer, old_places, outcomes), _side(after, viewer, new_places, outcomes)
    entries = sorted((_entry(each, old, new) for each in rows), key=_order)
    return RescoringReport(
        rescoring=service.show(session, rescoring),
        aggregate_before=before.suite.primary_aggregate.title,
        aggregate_after=after.suite.primary_aggregate.title,
        entries=tuple(entries),
        missing=service.missing(session, rescoring),
        in_progress=repository.in_progress(session, rescoring.competition),
    )


def _places(
    session: Session, rescoring: Rescoring, document: Competition, rows: list[Rescored]
) -> tuple[dict[str, Place], dict[str, Place]]:
    if rescoring.state is RescoringState.PUBLISHED:
        entries = [(each.submission.id, each.entry) for each in rows]
        return (
            {name: Place(entry.score_before, entry.rank_before) for name, entry in entries},
            {name: Place(entry.score_after, entry.rank_after) for name, entry in entries},
        )
    current = service.rules_before(session, rescoring)
    return (
        places.places(session, current, places.members_now(session, current)),
        places.places(session, document, places.members_after(session, rescoring, document)),
    )


def _side(
    rules: Competition,
    viewer: Viewer,
    found: Mapping[str, Place],
    outcomes: Mapping[int, Mapping[str, TaskOutcome]],
) -> _Side:
    suite = rules.suite
    return _Side(
        suite=suite,
        open=frozenset(task.id for task in open_tasks(suite, viewer)),
        aggregate=may_see_aggregate(suite, suite.primary_aggregate, viewer),
        places=found,
        outcomes=outcomes,
    )


def _entry(each: Rescored, old: _Side, new: _Side) -> ChangedEntry:
    row = each.submission
    complete = each.job.state is JobState.DONE
    return ChangedEntry(
        submission_id=row.id,
        method_name=row.method_name,
        author=row.author,
        track=row.track,
        scale=row.scale,
        state=_STATES[each.job.state],
        failure=each.entry.failure,
        before=old.score(row.id, each.before, complete=True),
        after=new.score(row.id, each.after, complete),
        rank_before=old.rank(row.id),
        rank_after=new.rank(row.id) if complete else None,
        tasks=tuple(_tasks(each, old, new)),
    )


def _tasks(each: Rescored, old: _Side, new: _Side) -> list[ChangedTask]:
    titles = {task.id: task.title for suite in (old.suite, new.suite) for task in suite.tasks}
    kept = set(planning.changes(old.suite, new.suite).kept)
    ids = [task.id for task in new.suite.tasks]
    ids += [task.id for task in old.suite.tasks if task.id not in ids]
    changed = []
    for task in ids:
        before, after = old.outcome(each.before, task), new.outcome(each.after, task)
        if task not in old.open | new.open:
            continue
        same = before is not None and after is not None and before.digest == after.digest
        changed.append(
            ChangedTask(
                task=task,
                title=titles[task],
                before=None if before is None else score_of(before),
                after=None if after is None else score_of(after),
                taken_over=task in kept and same,
            )
        )
    return changed


def _order(entry: ChangedEntry) -> tuple[str, str, int, int, str]:
    """Table by table, best first; those without a rank come last."""
    after, before = entry.rank_after or _LAST, entry.rank_before or _LAST
    return entry.track, entry.scale, after, before, entry.submission_id
