"""Routes about events."""

from __future__ import annotations

from fastapi import APIRouter

from competition.records.lifecycle import Event
from leaderboard.answers import documented
from leaderboard.dependencies import AnyViewer, Store
from leaderboard.events import service
from leaderboard.parameters import SubmissionId

router = APIRouter(prefix="/submissions", tags=["submissions"])


@router.get("/{submission_id}/events", summary="The log of a submission", responses=documented(401, 404))
def events(submission_id: SubmissionId, database: Store, viewer: AnyViewer) -> list[Event]:
    """Everything that happened to a submission, oldest first.

    Each event's `hash` is the sha256 of the canonical JSON (RFC 8785) of its other fields but `withheld`, the previous
    event's hash among them: a changed or missing line shows. Of an event that is `withheld` you see a part; the hash
    is that of the whole.
    """
    with database.reading() as session:
        return service.story(session, submission_id, viewer)
