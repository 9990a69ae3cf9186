"""Routes of the workers. Claiming needs a token of scope `score`, and gives one for what is said about the job."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from competition.records.scoring import (
    ClaimRequest,
    EntryFilesPage,
    Heartbeat,
    JobFinish,
    JobGrant,
    ResultReport,
    ResultTakenOver,
    StageReport,
)
from leaderboard.answers import documented
from leaderboard.dependencies import JobHolder, Now, Scorer, Store, WorkerRoute, WorkPatience
from leaderboard.parameters import JobId, OptionalId
from leaderboard.scoring import grants, service

router = APIRouter(prefix="/scoring", tags=["scoring"], route_class=WorkerRoute)
_ERRORS = documented(400, 401, 404, 409, 413)
_NOTHING = {"description": "There is nothing to do.", "model": None}


@router.post(
    "/claims",
    summary="Lease one job",
    response_model=JobGrant,
    responses={204: _NOTHING, **documented(400, 401, 403, 413)},
)
def claim(
    request: ClaimRequest, database: Store, viewer: Scorer, clock: Now, patience: WorkPatience
) -> JobGrant | Response:
    """The oldest waiting job of the wanted kinds, or 204; re-scorings come last.

    Its `attempt` goes into every later message, and its `token` is what those messages are sent with.
    """
    with database.writing() as session:
        grant = service.claim(session, request, viewer, clock(), patience)
        return Response(status_code=204) if grant is None else grant


@router.post("/jobs/{job_id}/heartbeat", summary="Extend the lease", status_code=204, responses=_ERRORS)
def heartbeat(
    job_id: JobId, message: Heartbeat, database: Store, holder: JobHolder, clock: Now, patience: WorkPatience
) -> None:
    """The worker is alive. 409 `stale_attempt` says that the lease has ended: drop the job."""
    with database.writing() as session:
        service.heartbeat(session, job_id, message, holder, clock(), patience.lease)


@router.post("/jobs/{job_id}/stage", summary="Say where the work has come to", status_code=204, responses=_ERRORS)
def report_stage(
    job_id: JobId, message: StageReport, database: Store, holder: JobHolder, clock: Now, patience: WorkPatience
) -> None:
    """Intake: `mirrored`, `validating`. Scoring: the id of the task being evaluated."""
    with database.writing() as session:
        service.report_stage(session, job_id, message, holder, clock(), patience.lease)


@router.post(
    "/jobs/{job_id}/results",
    summary="Hand in a task's result",
    status_code=204,
    responses=_ERRORS,
)
def report_result(
    job_id: JobId,
    message: ResultReport,
    database: Store,
    holder: JobHolder,
    clock: Now,
    patience: WorkPatience,
) -> None:
    """Stored once and never replaced; repeating it changes nothing."""
    with database.reading() as session:
        weighed = service.weigh(session, job_id, message)
    with database.writing() as session:
        service.accept_result(session, job_id, weighed, holder, clock(), patience.lease)


@router.post("/jobs/{job_id}/taken-over", summary="Take over a task's older result", status_code=204, responses=_ERRORS)
def take_over_result(
    job_id: JobId,
    message: ResultTakenOver,
    database: Store,
    holder: JobHolder,
    clock: Now,
    patience: WorkPatience,
) -> None:
    """In a re-scoring, of the tasks that the grant names: the newer suite measures the same. Idempotent."""
    with database.reading() as session:
        weighed = service.weigh_taken_over(session, job_id, message)
    with database.writing() as session:
        service.accept_result(session, job_id, weighed, holder, clock(), patience.lease)


@router.post("/jobs/{job_id}/finish", summary="Hand in the outcome of the job", status_code=204, responses=_ERRORS)
def finish(
    job_id: JobId, message: JobFinish, database: Store, holder: JobHolder, clock: Now, patience: WorkPatience
) -> None:
    """`verified` (intake), `scored` (every task has a result), `invalid` (the entry's fault), `failed` (ours)."""
    with database.writing() as session:
        service.finish(session, job_id, message, holder, clock(), patience)


@router.get("/files", summary="Which files entries consist of", responses=documented(401, 403))
def entry_files(
    database: Store, viewer: Scorer, after: OptionalId = None, limit: Annotated[int, Query(ge=1, le=100)] = 100
) -> EntryFilesPage:
    """A page of all submissions by id, whatever became of them: what a mirror must keep. `after` is `next_after`."""
    with database.reading() as session:
        del viewer  # asked for because of its scope
        return grants.entry_files(session, after, limit)
