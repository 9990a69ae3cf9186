"""Queries about reference results."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from leaderboard.models import ReferenceLine, ReferenceSetRow


def by_id(session: Session, set_id: str) -> ReferenceSetRow | None:
    """One version of a set."""
    return session.get(ReferenceSetRow, set_id)


def newest(session: Session, competition: str, name: str) -> ReferenceSetRow | None:
    """The highest version of a set, whether it is still shown or not."""
    query = select(ReferenceSetRow).where(ReferenceSetRow.competition == competition, ReferenceSetRow.name == name)
    return session.scalar(query.order_by(ReferenceSetRow.version.desc()).limit(1))


def versions(session: Session, competition: str, name: str) -> Sequence[ReferenceSetRow]:
    """All versions of a set, newest first."""
    query = select(ReferenceSetRow).where(ReferenceSetRow.competition == competition, ReferenceSetRow.name == name)
    return session.scalars(query.order_by(ReferenceSetRow.version.desc())).all()


def shown(session: Session, competition: str, track: str | None = None) -> Sequence[ReferenceSetRow]:
    """The sets of a competition (and track) that are neither replaced nor removed, by name."""
    query = select(ReferenceSetRow).where(
        ReferenceSetRow.competition == competition,
        ReferenceSetRow.replaced_at.is_(None),
        ReferenceSetRow.removed_at.is_(None),
    )
    if track is not None:
        query = query.where(or_(ReferenceSetRow.track.is_(None), ReferenceSetRow.track == track))
    return session.scalars(query.order_by(ReferenceSetRow.name)).all()


def lines(session: Session, set_ids: Sequence[str]) -> Sequence[ReferenceLine]:
    """The rows of sets, in order, with one query."""
    query = select(ReferenceLine).where(ReferenceLine.set_id.in_(set_ids))
    return session.scalars(query.order_by(ReferenceLine.set_id, ReferenceLine.place)).all()


def delete_lines(session: Session, set_ids: Sequence[str]) -> None:
    """Delete the rows of sets."""
    session.execute(delete(ReferenceLine).where(ReferenceLine.set_id.in_(set_ids)))


def has_digest(session: Session, competition: str, name: str, digest: str) -> bool:
    """Whether a version of a set with that content was ever imported."""
    query = select(func.count()).where(
        ReferenceSetRow.competition == competition, ReferenceSetRow.name == name, ReferenceSetRow.digest == digest
    )
    return bool(session.scalar(query))
