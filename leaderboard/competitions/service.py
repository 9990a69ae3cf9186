"""Publishing competitions and finding them. A published version never changes; a new one stands beside it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from competition.errors import ConflictError, NotFoundError, UsageError
from competition.rules import Competition, Phase, find_competition, unsupported
from leaderboard.clock import Clock, utc_now
from leaderboard.competitions import documents, repository
from leaderboard.competitions.schemas import CompetitionView
from leaderboard.models import PublishedCompetition


def publish(session: Session, competition: Competition, now: datetime) -> bool:
    """Publish a competition; False when exactly this one is published already.

    Raises ``ConflictError`` when its version is published with another content, or a higher version is, ``UsageError``
    when this version of DataCup cannot take or score its entries.
    """
    if _is_published(session, competition):
        return False
    reasons = unsupported(competition)
    if reasons:
        raise UsageError(
            f"Competition {competition.id!r} cannot be published: {' '.join(reasons)}",
            hint="Its rules can be read: `datacup suites show`, `datacup recipe list --competition`.",
        )
    newest = repository.newest(session, competition.id)
    if newest is not None and newest.version > competition.version:
        raise ConflictError(
            f"Competition {competition.id!r} is published in version {newest.version} already.",
            hint=f"Raise `version` in the competition's file above {newest.version}.",
        )
    row = PublishedCompetition(
        id=competition.id,
        version=competition.version,
        digest=competition.digest,
        document=competition.model_dump_json(),
        published_at=now,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        # Two servers that start at the same moment publish the same.
        if _is_published(session, competition):
            return False
        raise
    return True


def _is_published(session: Session, competition: Competition) -> bool:
    known = repository.version(session, competition.id, competition.version)
    if known is not None and known.digest != competition.digest:
        raise ConflictError(
            f"Version {competition.version} of competition {competition.id!r} is published with another content.",
            hint="A published version never changes: raise `version` in the competition's file.",
        )
    return known is not None


def publish_all(session: Session, names: Iterable[str], now: datetime) -> list[str]:
    """Publish competitions by name or file; the ids of those that are new or changed."""
    competitions = [find_competition(name) for name in names]
    return [competition.id for competition in competitions if publish(session, competition, now)]


def list_(session: Session, *, clock: Clock = utc_now) -> list[CompetitionView]:
    """The newest version of every competition, by name."""
    return [_view(row, clock()) for row in repository.all_newest(session)]


def get(session: Session, competition: str, *, clock: Clock = utc_now) -> CompetitionView:
    """The newest version of a competition (raises ``NotFoundError``)."""
    row = repository.newest(session, competition)
    if row is None:
        raise NotFoundError(
            f"There is no competition {competition!r}.", hint="GET /api/v1/competitions lists those there are."
        )
    return _view(row, clock())


def document(session: Session, competition: str, version: int) -> Competition:
    """The document of a version that is known to be published."""
    row = repository.version(session, competition, version)
    assert row is not None, "a submission refers to its competition by a foreign key"
    return documents.parse(row.document)


def under_suite(session: Session, competition: str, suite_digest: str) -> Competition:
    """The newest published version with a suite under which there are published evaluations."""
    for row in repository.versions(session, competition):
        found = documents.parse(row.document)
        if found.suite.digest == suite_digest:
            return found
    raise AssertionError("an evaluation is published after, or together with, the version that has its suite")


def is_open(competition: Competition, now: datetime) -> bool:
    """Whether a phase takes entries at that moment."""
    return phase_at(competition, now) is not None


def phase_at(competition: Competition, now: datetime) -> Phase | None:
    """The phase that takes entries at that moment, the first of several."""
    return next((phase for phase in competition.phases if phase.open_at(now)), None)


def _view(row: PublishedCompetition, now: datetime) -> CompetitionView:
    document = documents.parse(row.document)
    return CompetitionView(
        id=row.id,
        version=row.version,
        digest=row.digest,
        published_at=row.published_at,
        open=is_open(document, now),
        document=document,
    )
