"""Routes about submissions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from competition.records.audit import AuditView
from competition.records.base import Instant
from competition.records.lifecycle import Processing
from competition.records.submission import (
    QuotaView,
    SubmissionPage,
    SubmissionRegistration,
    SubmissionRevision,
    SubmissionTicket,
    SubmissionView,
    SubmissionWithdrawal,
)
from leaderboard.answers import documented
from leaderboard.dependencies import AnyViewer, Chosen, Now, Store, Submitter
from leaderboard.parameters import CompetitionId, OptionalId, SubmissionId
from leaderboard.submissions import audits, service
from leaderboard.submissions.repository import Filter

router = APIRouter(prefix="/submissions", tags=["submissions"])
quota_router = APIRouter(prefix="/competitions", tags=["submissions"])


@quota_router.get("/{competition}/quota", summary="What you may still enter", responses=documented(401, 403, 404, 409))
def show_quota(competition: CompetitionId, database: Store, viewer: Submitter, clock: Now) -> QuotaView:
    """Of the token's account, in the phase that is open now. Days are those of UTC."""
    with database.reading() as session:
        return service.quota_of(session, competition, viewer, clock())


@router.post("", summary="Announce an entry", responses=documented(400, 401, 403, 404, 409, 413, 429))
def register(
    request: SubmissionRegistration, database: Store, viewer: Submitter, clock: Now, settings: Chosen
) -> SubmissionTicket:
    """First step of entering, before anything is uploaded. Repeating it with the same key yields the same ticket.

    The ticket's nonce goes into the manifest, so that nobody can enter another team's repository as their own.
    """
    with database.writing() as session:
        service.require_hub(request.hub_endpoint, settings)
        return service.register(session, request, viewer, clock())


@router.put(
    "/{submission_id}/revision",
    summary="Say that the upload is complete",
    responses=documented(400, 401, 403, 404, 409, 413, 429),
)
def set_revision(
    submission_id: SubmissionId, revision: SubmissionRevision, database: Store, viewer: Submitter, clock: Now
) -> SubmissionView:
    """Second step of entering: this commit and folder are the entry. Repeating it changes nothing."""
    with database.writing() as session:
        return service.set_revision(session, submission_id, revision, viewer, clock())


@router.post(
    "/{submission_id}/withdraw", summary="Take an entry back", responses=documented(400, 401, 403, 404, 409, 413)
)
def withdraw(
    submission_id: SubmissionId,
    database: Store,
    viewer: Submitter,
    clock: Now,
    request: SubmissionWithdrawal | None = None,
) -> SubmissionView:
    """Work on the entry stops; a tombstone stays, and the attempt still counts. It never comes back.

    By its author or an organiser. Repeating it changes nothing.
    """
    with database.writing() as session:
        return service.withdraw(session, submission_id, request or SubmissionWithdrawal(), viewer, clock())


@router.get("/{submission_id}", summary="One submission", responses=documented(401, 404))
def submission(submission_id: SubmissionId, database: Store, viewer: AnyViewer) -> SubmissionView:
    """A submission with its results so far. Drafts are seen by their account only."""
    with database.reading() as session:
        return service.view(session, submission_id, viewer)


@router.get("/{submission_id}/audits", summary="Audits of a submission", responses=documented(401, 404))
def audits_of(submission_id: SubmissionId, database: Store, viewer: AnyViewer) -> list[AuditView]:
    """What training again on the entry's subset gave, oldest first, without what hidden tasks would give away."""
    with database.reading() as session:
        return audits.views(session, submission_id, viewer)


@router.get("", summary="Submissions, newest first", responses=documented(401))
def submissions(
    database: Store,
    viewer: AnyViewer,
    competition: OptionalId = None,
    track: OptionalId = None,
    scale: OptionalId = None,
    account: OptionalId = None,
    processing: Annotated[Processing | None, Query()] = None,
    received_from: Annotated[Instant | None, Query(description="received then or later")] = None,
    received_before: Annotated[Instant | None, Query(description="received before that")] = None,
    cursor: Annotated[str | None, Query(max_length=200, description="next_cursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> SubmissionPage:
    """A page of the submissions that you may see. Follow `next_cursor` until it is null."""
    with database.reading() as session:
        after = None if cursor is None else service.cursor_position(cursor)
        wanted = Filter(competition, track, scale, account, processing, received_from, received_before, after, limit)
        return service.page(session, wanted, viewer)
