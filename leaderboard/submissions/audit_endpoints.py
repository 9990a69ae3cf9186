"""Routes of audits, for organisers. What everybody may see of them is among the routes about submissions."""

from __future__ import annotations

from fastapi import APIRouter

from competition.records.audit import AuditReport, AuditTarget, AuditView
from leaderboard.answers import documented
from leaderboard.dependencies import Now, Organiser, Store, WorkerRoute
from leaderboard.parameters import SubmissionId
from leaderboard.submissions import audits

router = APIRouter(prefix="/scoring/audits", tags=["scoring"], route_class=WorkerRoute)


@router.get("/{submission_id}", summary="What an audit must know", responses=documented(401, 403, 404, 409))
def target(submission_id: SubmissionId, database: Store, viewer: Organiser) -> AuditTarget:
    """A scored entry of a subset and a model, with all its published values. Needs a token of scope `admin`."""
    with database.reading() as session:
        return audits.target(session, submission_id, viewer)


@router.post("/{submission_id}", summary="Hand in an audit", responses=documented(400, 401, 403, 404, 409, 413))
def record(
    submission_id: SubmissionId, report: AuditReport, database: Store, viewer: Organiser, clock: Now
) -> AuditView:
    """The verdict is made again from the numbers. `confirmed` sets the badge re-trained, `exceeds` flags the entry.

    Repeating it changes nothing; a report about an entry that has changed since is refused (409).
    """
    with database.writing() as session:
        return audits.record(session, submission_id, report, viewer, clock())
