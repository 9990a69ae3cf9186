"""Writing and reading the log. An event is appended in the transaction of the change that it tells of."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from sqlalchemy.orm import Session

from competition.errors import NotFoundError
from competition.records.lifecycle import GENESIS_HASH, Event
from leaderboard.accounts.viewer import ANONYMOUS, Act, Viewer
from leaderboard.competitions import repository as versions
from leaderboard.competitions.documents import parse
from leaderboard.events import repository
from leaderboard.events.withholding import NEAR_COPY, Sight, shown
from leaderboard.models import EventRow
from leaderboard.rescoring.repository import all_of as rescorings
from leaderboard.submissions import repository as submissions
from leaderboard.visibility import is_tombstone, open_tasks


def append(
    session: Session,
    submission_id: str,
    act: Act,
    kind: str,
    *,
    change: tuple[str | None, str | None] = (None, None),
    detail: dict[str, Any] | None = None,
) -> None:
    """Append an event; ``change`` is what the value was and what it is now.

    The caller holds the submission's lock. The log is public, but for what ``withholding`` keeps back: ``detail`` never
    holds a score or a secret.
    """
    last = repository.last(session, submission_id)
    fields = {
        "submission_id": submission_id,
        "sequence": 1 if last is None else last.sequence + 1,
        "at": act.at.astimezone(UTC),
        "actor": act.actor,
        "kind": kind,
        "before": change[0],
        "after": change[1],
        "detail": detail or {},
        "previous_hash": GENESIS_HASH if last is None else last.hash,
    }
    draft = Event.model_validate({**fields, "hash": GENESIS_HASH})
    session.add(EventRow(**fields, hash=draft.expected_hash()))
    session.flush()


def story(session: Session, submission_id: str, viewer: Viewer = ANONYMOUS) -> list[Event]:
    """The events of a submission, oldest first, as far as the viewer may see them.

    Raises ``NotFoundError`` when the viewer may not know of the submission.
    """
    submission = repository.readable(session, submission_id, viewer)
    if submission is None:
        raise NotFoundError(f"There is no submission {submission_id!r}.", hint="Check the id; drafts are private.")
    events = [_event(row) for row in repository.all_of(session, submission_id)]
    if viewer.is_admin:
        return events
    others = {str(event.detail.get("other")) for event in events if event.kind == NEAR_COPY}
    sight = Sight(
        tombstone=is_tombstone(submission, viewer),
        tasks=_open(session, submission.competition, viewer),
        entries=submissions.named(session, others, viewer),
    )
    return [shown(event, sight) for event in events]


def _open(session: Session, competition: str, viewer: Viewer) -> set[str]:
    """Tasks whose results the viewer may see under every suite that the competition has, had, or is scored by anew."""
    documents = [row.document for row in versions.versions(session, competition)]
    documents += [row.document for row in rescorings(session, competition)]
    suites = [parse(document).suite for document in documents]
    seen = [{task.id for task in open_tasks(suite, viewer)} for suite in suites]
    hidden = [{task.id for task in suite.tasks} - open_ for suite, open_ in zip(suites, seen, strict=True)]
    return set[str]().union(*seen).difference(*hidden)


def _event(row: EventRow) -> Event:
    names = ("submission_id", "sequence", "at", "actor", "kind", "before", "after", "detail", "previous_hash", "hash")
    return Event.model_validate({name: getattr(row, name) for name in names})
