"""Queries about jobs, evaluations and accepted results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session, undefer

from competition.records.lifecycle import JobKind, Processing
from competition.records.scoring import EntryFilter
from leaderboard.models import Evaluation, Job, JobState, Submission, TaskOutcome

_LIVE = (JobState.READY, JobState.LEASED)
# More than this at once would hold the writer's lock for long; the rest is found at the next look.
_BATCH = 100


def next_ready(
    session: Session, kinds: Sequence[JobKind], now: datetime, only: EntryFilter | None = None
) -> tuple[Job, Submission] | None:
    """The first job that waits, locked together with its submission; others' locks are passed by, not waited for."""
    query = (
        select(Job, Submission)
        .join(Submission, Submission.id == Job.submission_id)
        .where(Job.state == JobState.READY, Job.kind.in_(kinds), Job.available_at <= now, *_among(only))
        .order_by(Job.priority, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    found = session.execute(query, execution_options={"populate_existing": True}).first()
    return None if found is None else (found[0], found[1])


def _among(only: EntryFilter | None) -> list[ColumnElement[bool]]:
    """The conditions on submissions that a filter stands for."""
    if only is None:
        return []
    conditions: list[ColumnElement[bool]] = []
    for column, value in (
        (Submission.competition, only.competition),
        (Submission.track, only.track),
        (Submission.scale, only.scale),
    ):
        if value is not None:
            conditions.append(column == value)
    if only.received_from is not None:
        conditions.append(Submission.received_at >= only.received_from)
    if only.received_before is not None:
        conditions.append(Submission.received_at < only.received_before)
    return conditions


def lapsed(session: Session, now: datetime) -> list[tuple[Job, Submission]]:
    """Jobs whose lease has ended, locked together with their submissions."""
    query = (
        select(Job, Submission)
        .join(Submission, Submission.id == Job.submission_id)
        .where(Job.state == JobState.LEASED, Job.lease_expires_at <= now)
        .order_by(Job.id)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    )
    found = session.execute(query, execution_options={"populate_existing": True})
    return [(job, submission) for job, submission in found]


def misdated(
    session: Session, now: datetime, lease: timedelta, longest_wait: timedelta
) -> list[tuple[Job, Submission]]:
    """Jobs with a lease or a wait that cannot have begun at ``now`` or before, locked as ``lapsed`` locks them."""
    lasts = and_(Job.state == JobState.LEASED, Job.lease_expires_at > now + lease)
    late = or_(Job.available_at > now + longest_wait, and_(Job.failures == 0, Job.available_at > now))
    query = (
        select(Job, Submission)
        .join(Submission, Submission.id == Job.submission_id)
        .where(or_(lasts, and_(Job.state == JobState.READY, late)))
        .order_by(Job.id)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    )
    found = session.execute(query, execution_options={"populate_existing": True})
    return [(job, submission) for job, submission in found]


def without_job(session: Session) -> Sequence[str]:
    """Ids of submissions on which work is due although no job is live. There should never be one."""
    due = [state for state in Processing if not state.terminal and state is not Processing.DRAFT]
    live = select(Job.id).where(Job.submission_id == Submission.id, Job.state.in_(_LIVE)).exists()
    query = select(Submission.id).where(Submission.processing.in_(due), ~live)
    return session.scalars(query.order_by(Submission.created_at).limit(_BATCH)).all()


def manifests(session: Session, after: str | None, limit: int) -> Sequence[tuple[str, str | None]]:
    """Ids of submissions in order, beginning behind ``after``, with their verified manifests."""
    query = select(Submission.id, Submission.manifest).order_by(Submission.id).limit(limit)
    rows = session.execute(query if after is None else query.where(Submission.id > after))
    return [(submission_id, manifest) for submission_id, manifest in rows]


def live_job(session: Session, submission_id: str) -> Job | None:
    """The job of a submission that waits or is leased."""
    return session.scalar(select(Job).where(Job.submission_id == submission_id, Job.state.in_(_LIVE)))


def job(session: Session, job_id: int) -> Job | None:
    """A job as it is now."""
    return session.scalar(select(Job).where(Job.id == job_id), execution_options={"populate_existing": True})


def update_job(session: Session, job: Job, values: Mapping[str, Any]) -> bool:
    """Compare-and-set columns of a job: only if its state and attempt are as they were read."""
    query = update(Job).where(Job.id == job.id, Job.state == job.state, Job.attempt == job.attempt)
    done = session.scalar(
        query.values(**values).returning(Job),
        execution_options={"synchronize_session": False, "populate_existing": True},
    )
    if done is None:
        session.refresh(job)
    return done is not None


def evaluation(session: Session, evaluation_id: int) -> Evaluation:
    """The evaluation of that number; a scoring job refers to it by a foreign key."""
    return session.get_one(Evaluation, evaluation_id)


def evaluation_under(session: Session, submission_id: str, suite_digest: str) -> Evaluation | None:
    """The evaluation of a submission under a suite."""
    query = select(Evaluation).where(Evaluation.submission_id == submission_id, Evaluation.suite_digest == suite_digest)
    return session.scalar(query)


def accepted(session: Session, evaluation_id: int) -> Sequence[TaskOutcome]:
    """The accepted results of an evaluation, with their replicates."""
    query = select(TaskOutcome).options(undefer(TaskOutcome.replicates))
    return session.scalars(query.where(TaskOutcome.evaluation_id == evaluation_id).order_by(TaskOutcome.id)).all()


def accepted_task(session: Session, evaluation_id: int, task: str) -> TaskOutcome | None:
    """The accepted result of one task."""
    query = select(TaskOutcome).where(TaskOutcome.evaluation_id == evaluation_id, TaskOutcome.task == task)
    return session.scalar(query)


def finished_tasks(session: Session, evaluation_id: int) -> list[str]:
    """The tasks that have an accepted result, in the order of acceptance."""
    query = select(TaskOutcome.task).where(TaskOutcome.evaluation_id == evaluation_id)
    return list(session.scalars(query.order_by(TaskOutcome.id)))
