"""Queries that only the pages need: how many entries are where, and which are not (yet) in the table."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from competition.records.lifecycle import Processing, Visibility
from leaderboard.accounts.viewer import ANONYMOUS
from leaderboard.models import Submission
from leaderboard.visibility import visible_to
from leaderboard.web.rendering import Counts


def counts(session: Session, competition: str, track: str | None = None, scale: str | None = None) -> Counts:
    """How many entries that the public may know of are where; of one board, or of the whole competition."""
    query = select(Submission.processing, Submission.visibility, func.count()).where(
        Submission.competition == competition, visible_to(ANONYMOUS)
    )
    if track is not None:
        query = query.where(Submission.track == track)
    if scale is not None:
        query = query.where(Submission.scale == scale)
    groups = session.execute(query.group_by(Submission.processing, Submission.visibility)).all()
    return Counts.of([(processing, visibility, number) for processing, visibility, number in groups])


def unscored(session: Session, competition: str, track: str, scale: str, limit: int) -> Sequence[Submission]:
    """Public entries of a board that are on their way or ended without a score, the last changed first."""
    query = (
        select(Submission)
        .options(joinedload(Submission.account))
        .where(
            Submission.competition == competition,
            Submission.track == track,
            Submission.scale == scale,
            Submission.processing != Processing.SCORED,
            Submission.visibility == Visibility.PUBLIC,
            visible_to(ANONYMOUS),
        )
    )
    return session.scalars(query.order_by(Submission.updated_at.desc(), Submission.id).limit(limit)).all()
