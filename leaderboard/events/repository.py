"""Queries about events."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from leaderboard.accounts.viewer import Viewer
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


def may_read(session: Session, submission_id: str, viewer: Viewer) -> bool:
    """Whether the viewer may know of the submission at all."""
    query = select(Submission.id).where(Submission.id == submission_id, visible_to(viewer))
    return session.scalar(query) is not None
