"""Routes about re-scorings and about evaluations side by side."""

from __future__ import annotations

from fastapi import APIRouter

from competition.records.rescoring import (
    EvaluationView,
    PublishRequest,
    ReplayNote,
    RescoringPlan,
    RescoringReport,
    RescoringRequest,
    RescoringView,
)
from leaderboard.accounts.viewer import Act, Viewer
from leaderboard.answers import documented
from leaderboard.clock import Clock
from leaderboard.dependencies import AnyViewer, Now, Organiser, Store
from leaderboard.parameters import CompetitionId, RescoringId, SubmissionId
from leaderboard.rescoring import evaluations, report, service

router = APIRouter(tags=["rescorings"])
_ERRORS = documented(400, 401, 403, 404, 409, 413)


def _act(viewer: Viewer, clock: Clock) -> Act:
    return Act(viewer.account or "", clock())


@router.post("/competitions/{competition}/rescorings/plan", summary="What a re-scoring would do", responses=_ERRORS)
def plan(competition: CompetitionId, request: RescoringRequest, database: Store, _viewer: Organiser) -> RescoringPlan:
    """Which entries would be evaluated under the document's suite, what is taken over, and about how long it takes."""
    with database.reading() as session:
        return service.plan(session, competition, request)


@router.post("/competitions/{competition}/rescorings", summary="Begin a re-scoring", responses=_ERRORS)
def begin(
    competition: CompetitionId, request: RescoringRequest, database: Store, viewer: Organiser, clock: Now
) -> RescoringView:
    """Scoring jobs that come after all others. Sent again, it adds new entries and retries what failed."""
    with database.writing() as session:
        return service.begin(session, competition, request, _act(viewer, clock))


@router.get("/competitions/{competition}/rescorings", summary="Re-scorings", responses=documented(401, 404))
def rescorings(competition: CompetitionId, database: Store, viewer: AnyViewer) -> list[RescoringView]:
    """The newest first. Organisers see those that are open or cancelled, too."""
    with database.reading() as session:
        return service.list_(session, competition, viewer)


@router.get(
    "/competitions/{competition}/rescorings/{rescoring}",
    summary="What a re-scoring changed",
    responses=documented(401, 404),
)
def rescoring(
    competition: CompetitionId, rescoring: RescoringId, database: Store, viewer: AnyViewer
) -> RescoringReport:
    """Every entry under both suites: scores with their intervals, ranks, tasks. Public once it is published."""
    with database.reading() as session:
        return report.build(session, service.find(session, competition, rescoring, viewer), viewer)


@router.post(
    "/competitions/{competition}/rescorings/{rescoring}/publish", summary="Publish a re-scoring", responses=_ERRORS
)
def publish(
    competition: CompetitionId,
    rescoring: RescoringId,
    wanted: PublishRequest,
    database: Store,
    viewer: Organiser,
    clock: Now,
) -> RescoringView:
    """The new scores and the competition's new version become public in one transaction. Repeatable."""
    with database.writing() as session:
        found = service.find(session, competition, rescoring, viewer)
        return service.publish(session, found, wanted, _act(viewer, clock))


@router.post(
    "/competitions/{competition}/rescorings/{rescoring}/cancel", summary="Cancel a re-scoring", responses=_ERRORS
)
def cancel(
    competition: CompetitionId, rescoring: RescoringId, database: Store, viewer: Organiser, clock: Now
) -> RescoringView:
    """Its jobs end, and nothing of it becomes public. Repeatable."""
    with database.writing() as session:
        return service.cancel(session, service.find(session, competition, rescoring, viewer), _act(viewer, clock))


@router.get(
    "/submissions/{submission_id}/evaluations",
    summary="Evaluations of a submission, side by side",
    responses=documented(401, 404),
)
def side_by_side(submission_id: SubmissionId, database: Store, viewer: AnyViewer) -> list[EvaluationView]:
    """One for each suite that it was scored under, the oldest first."""
    with database.reading() as session:
        return evaluations.side_by_side(session, submission_id, viewer)


@router.post("/submissions/{submission_id}/replays", summary="Note a replay", status_code=204, responses=_ERRORS)
def note_replay(submission_id: SubmissionId, note: ReplayNote, database: Store, viewer: Organiser, clock: Now) -> None:
    """An organiser evaluated the entry again: the log says how many stored values held."""
    with database.writing() as session:
        evaluations.note_replay(session, submission_id, note, _act(viewer, clock))
