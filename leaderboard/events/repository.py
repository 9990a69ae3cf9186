"""Queries about events."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from competition.records.lifecycle import Visibility
from leaderboard.accounts.viewer import Viewer
from leaderboard.events.withholding import NEAR_COPY, TASK_RESULT, VISIBILITY
from leaderboard.models import EventRow, Submission
from leaderboard.visibility import visible_to


def last(session: Session, submission_id: str) -> EventRow | None:
    """The newest event of a submission."""
    query = select(EventRow).where(EventRow.submission_id == submission_id)
    return session.scalar(query.order_by(EventRow.sequence.desc()).limit(1))


def all_of(session: Session, submission_id: str) -> Sequence[EventRow]:
    """All events of a submission, oldest first."""
    query = select(EventRow).where(EventRow.submission_id == submission_id)
    return session.scalars(query.order_by(EventRow.sequence)).all()


def found_on_the_way(session: Session, submission_ids: Sequence[str]) -> Sequence[EventRow]:
    """Events that tell of near copies, and of results that the entry's own report does not agree with."""
    gap = and_(EventRow.kind == TASK_RESULT, EventRow.detail["reported_gap"].as_string().is_not(None))
    query = select(EventRow).where(EventRow.submission_id.in_(submission_ids), or_(EventRow.kind == NEAR_COPY, gap))
    return session.scalars(query.order_by(EventRow.submission_id, EventRow.sequence)).all()


def withdrawals(session: Session, submission_ids: Sequence[str]) -> Sequence[EventRow]:
    """The events by which submissions were taken back."""
    query = select(EventRow).where(
        EventRow.submission_id.in_(submission_ids),
        EventRow.kind == VISIBILITY,
        EventRow.after == Visibility.WITHDRAWN.value,
    )
    return session.scalars(query).all()


def readable(session: Session, submission_id: str, viewer: Viewer) -> Submission | None:
    """The submission, if the viewer may know of it at all."""
    return session.scalar(select(Submission).where(Submission.id == submission_id, visible_to(viewer)))
