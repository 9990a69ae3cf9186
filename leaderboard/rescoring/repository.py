"""Queries about re-scorings, and about evaluations side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased, joinedload, undefer

from competition.records.lifecycle import Processing, Visibility
from competition.records.rescoring import RescoringState
from leaderboard.accounts.viewer import Viewer
from leaderboard.models import Evaluation, Job, JobState, RescoredEntry, Rescoring, Submission, TaskOutcome
from leaderboard.visibility import visible_to


@dataclass(frozen=True)
class Rescored:
    """One entry of a re-scoring with everything that belongs to it."""

    entry: RescoredEntry
    submission: Submission
    job: Job
    before: Evaluation
    after: Evaluation


def of_job(session: Session, job_id: int) -> RescoredEntry | None:
    """The entry of a re-scoring that the job works on; None for any other job."""
    return session.scalar(select(RescoredEntry).where(RescoredEntry.job_id == job_id))


def by_id(session: Session, competition: str, number: int) -> Rescoring | None:
    """One re-scoring of a competition."""
    return session.scalar(select(Rescoring).where(Rescoring.id == number, Rescoring.competition == competition))


def lock(session: Session, number: int) -> Rescoring:
    """A re-scoring that is known to exist, locked until the transaction ends."""
    query = select(Rescoring).where(Rescoring.id == number).with_for_update()
    return session.execute(query.execution_options(populate_existing=True)).scalar_one()


def open_of(session: Session, competition: str) -> Rescoring | None:
    """The re-scoring of a competition that is neither published nor cancelled, locked."""
    query = select(Rescoring).where(Rescoring.competition == competition, Rescoring.state == RescoringState.OPEN)
    return session.scalar(query.with_for_update().execution_options(populate_existing=True))


def all_of(session: Session, competition: str) -> Sequence[Rescoring]:
    """Every re-scoring of a competition, the newest first."""
    query = select(Rescoring).where(Rescoring.competition == competition)
    return session.scalars(query.order_by(Rescoring.id.desc())).all()


def entries(session: Session, number: int, viewer: Viewer) -> list[Rescored]:
    """The entries of a re-scoring that the viewer may know of, in the order of their entering."""
    before, after = aliased(Evaluation), aliased(Evaluation)
    query = (
        select(RescoredEntry, Submission, Job, before, after)
        .join(Submission, Submission.id == RescoredEntry.submission_id)
        .join(Job, Job.id == RescoredEntry.job_id)
        .join(before, before.id == RescoredEntry.before_id)
        .join(after, after.id == RescoredEntry.evaluation_id)
        .options(joinedload(Submission.account))
        .where(RescoredEntry.rescoring_id == number, visible_to(viewer))
        .order_by(Submission.created_at, Submission.id)
        .execution_options(populate_existing=True)
    )
    return [Rescored(*row) for row in session.execute(query)]


def entered(session: Session, number: int) -> Mapping[str, RescoredEntry]:
    """The entries of a re-scoring by submission."""
    query = select(RescoredEntry).where(RescoredEntry.rescoring_id == number)
    return {entry.submission_id: entry for entry in session.scalars(query)}


def job_states(session: Session, number: int) -> Mapping[JobState, int]:
    """How many jobs of a re-scoring are where."""
    query = (
        select(Job.state, func.count())
        .join(RescoredEntry, RescoredEntry.job_id == Job.id)
        .where(RescoredEntry.rescoring_id == number)
        .group_by(Job.state)
    )
    return {JobState(state): count for state, count in session.execute(query)}


def scored(session: Session, competition: str) -> Sequence[tuple[Submission, Evaluation]]:
    """Scored entries that are not withdrawn, each with its newest published evaluation; the first entered first."""
    query = (
        select(Submission, Evaluation)
        .join(Evaluation, Evaluation.submission_id == Submission.id)
        .where(
            Submission.competition == competition,
            Submission.processing == Processing.SCORED,
            Submission.visibility != Visibility.WITHDRAWN,
            Evaluation.published_at.is_not(None),
        )
        .order_by(Submission.created_at, Submission.id, Evaluation.published_at, Evaluation.id)
    )
    newest = {submission.id: (submission, evaluation) for submission, evaluation in session.execute(query)}
    return list(newest.values())


def published_under(session: Session, competition: str, suite_digest: str) -> Mapping[str, Evaluation]:
    """Published evaluations under a suite, by submission."""
    query = (
        select(Evaluation)
        .join(Submission, Submission.id == Evaluation.submission_id)
        .where(
            Submission.competition == competition,
            Evaluation.suite_digest == suite_digest,
            Evaluation.published_at.is_not(None),
        )
    )
    return {evaluation.submission_id: evaluation for evaluation in session.scalars(query)}


def in_progress(session: Session, competition: str) -> int:
    """How many entries of a competition are on their way to a score."""
    under_way = [state for state in Processing if not state.terminal and state is not Processing.DRAFT]
    query = select(func.count()).select_from(Submission)
    found = session.scalar(query.where(Submission.competition == competition, Submission.processing.in_(under_way)))
    return found or 0


def recorded_seconds(session: Session, evaluation_ids: Iterable[int]) -> Mapping[int, dict[str, float]]:
    """What each task of each evaluation took."""
    query = select(TaskOutcome.evaluation_id, TaskOutcome.task, TaskOutcome.seconds)
    found: dict[int, dict[str, float]] = {}
    for evaluation, task, seconds in session.execute(query.where(TaskOutcome.evaluation_id.in_(list(evaluation_ids)))):
        found.setdefault(evaluation, {})[task] = seconds
    return found


def accepted_under(session: Session, competition: str, suite_digest: str) -> Mapping[str, set[str]]:
    """The tasks that have an accepted result under a suite, published or not, by submission."""
    query = (
        select(Evaluation.submission_id, TaskOutcome.task)
        .join(TaskOutcome, TaskOutcome.evaluation_id == Evaluation.id)
        .join(Submission, Submission.id == Evaluation.submission_id)
        .where(Submission.competition == competition, Evaluation.suite_digest == suite_digest)
    )
    found: dict[str, set[str]] = {}
    for submission, task in session.execute(query):
        found.setdefault(submission, set()).add(task)
    return found


def outcomes(session: Session, evaluation_ids: Iterable[int]) -> Mapping[int, dict[str, TaskOutcome]]:
    """The accepted results of evaluations, by evaluation and task."""
    query = select(TaskOutcome).where(TaskOutcome.evaluation_id.in_(list(evaluation_ids)))
    found: dict[int, dict[str, TaskOutcome]] = {}
    for outcome in session.scalars(query.order_by(TaskOutcome.id)):
        found.setdefault(outcome.evaluation_id, {})[outcome.task] = outcome
    return found


def outcome_whole(session: Session, evaluation_id: int, task: str) -> TaskOutcome | None:
    """One accepted result with the outcomes of its single queries."""
    query = select(TaskOutcome).options(undefer(TaskOutcome.outcomes))
    return session.scalar(query.where(TaskOutcome.evaluation_id == evaluation_id, TaskOutcome.task == task))


def evaluations_of(session: Session, submission_id: str) -> Sequence[Evaluation]:
    """The published evaluations of a submission, the oldest first."""
    query = select(Evaluation).where(Evaluation.submission_id == submission_id, Evaluation.published_at.is_not(None))
    return session.scalars(query.order_by(Evaluation.published_at, Evaluation.id)).all()
