"""Queries about published competitions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from leaderboard.models import PublishedCompetition


def version(session: Session, competition: str, number: int) -> PublishedCompetition | None:
    """One version of a competition."""
    return session.get(PublishedCompetition, (competition, number))


def newest(session: Session, competition: str) -> PublishedCompetition | None:
    """The highest version of a competition."""
    query = select(PublishedCompetition).where(PublishedCompetition.id == competition)
    return session.scalar(query.order_by(PublishedCompetition.version.desc()).limit(1))


def versions(session: Session, competition: str) -> Sequence[PublishedCompetition]:
    """Every version of a competition, the newest first."""
    query = select(PublishedCompetition).where(PublishedCompetition.id == competition)
    return session.scalars(query.order_by(PublishedCompetition.version.desc())).all()


def all_newest(session: Session) -> Sequence[PublishedCompetition]:
    """The highest version of every competition, by name."""
    top = select(PublishedCompetition.id, func.max(PublishedCompetition.version).label("top"))
    highest = top.group_by(PublishedCompetition.id).subquery()
    query = select(PublishedCompetition).join(
        highest, (PublishedCompetition.id == highest.c.id) & (PublishedCompetition.version == highest.c.top)
    )
    return session.scalars(query.order_by(PublishedCompetition.id)).all()
