"""Queries behind the metrics: counts alone, nothing of any single entry."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from competition.errors import RejectionReason
from competition.records.lifecycle import JobKind, Processing
from leaderboard.models import Job, JobState, Submission, TaskOutcome


class JobCount(NamedTuple):
    """Jobs of one kind in one state, and how often they were claimed altogether."""

    kind: JobKind
    state: JobState
    jobs: int
    claims: int


def job_counts(session: Session) -> list[JobCount]:
    """All jobs that there ever were."""
    query = select(Job.kind, Job.state, func.count(), func.sum(Job.attempt)).group_by(Job.kind, Job.state)
    return [JobCount(kind, state, jobs, int(claims)) for kind, state, jobs, claims in session.execute(query)]


def waiting_since(session: Session, now: datetime) -> dict[JobKind, datetime]:
    """Since when the oldest job of each kind could have been claimed; kinds of which none waits are absent.

    Jobs that let others go first may wait long, and that is no sign of trouble: they are not looked at.
    """
    query = select(Job.kind, func.min(Job.available_at)).where(
        Job.state == JobState.READY, Job.priority == 0, Job.available_at <= now
    )
    return {JobKind(kind): since for kind, since in session.execute(query.group_by(Job.kind))}


def ended_since(session: Session, start: datetime) -> dict[tuple[JobKind, JobState], int]:
    """Jobs that ended after ``start``."""
    query = select(Job.kind, Job.state, func.count()).where(Job.ended_at > start).group_by(Job.kind, Job.state)
    return {(kind, state): jobs for kind, state, jobs in session.execute(query)}


def submission_counts(session: Session) -> dict[Processing, int]:
    """Submissions by where they stand."""
    query = select(Submission.processing, func.count()).group_by(Submission.processing)
    return {Processing(processing): count for processing, count in session.execute(query)}


def rejection_counts(session: Session) -> dict[RejectionReason, int]:
    """Invalid submissions by reason."""
    query = select(Submission.rejection_reason, func.count()).where(Submission.rejection_reason.is_not(None))
    rows = session.execute(query.group_by(Submission.rejection_reason))
    return {reason: count for reason, count in rows if reason is not None}


def result_count(session: Session) -> int:
    """Accepted results of tasks."""
    return session.scalar(select(func.count()).select_from(TaskOutcome)) or 0
