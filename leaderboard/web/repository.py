"""Queries that only the pages need: how many entries are where, and which are not in the table."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from competition.records.lifecycle import Visibility
from competition.records.standings import StandingsView
from leaderboard.accounts.viewer import ANONYMOUS
from leaderboard.models import Submission
from leaderboard.standings.repository import Board, in_table
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


def beside_table(session: Session, view: StandingsView, limit: int) -> Sequence[Submission]:
    """Public entries of a track and scale that are not in its table, for whatever reason, the last changed first."""
    board = Board(view.competition, view.track, view.scale, view.suite_digest, view.recipe_digest)
    query = (
        select(Submission)
        .options(joinedload(Submission.account))
        .where(
            Submission.competition == board.competition,
            Submission.track == board.track,
            Submission.scale == board.scale,
            Submission.visibility == Visibility.PUBLIC,
            visible_to(ANONYMOUS),
            ~in_table(board),
        )
    )
    return session.scalars(query.order_by(Submission.updated_at.desc(), Submission.id).limit(limit)).all()
