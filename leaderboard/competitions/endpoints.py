"""Routes about competitions."""

from __future__ import annotations

from fastapi import APIRouter

from leaderboard.answers import documented
from leaderboard.competitions import service
from leaderboard.competitions.schemas import CompetitionView
from leaderboard.dependencies import Now, Store
from leaderboard.parameters import CompetitionId

router = APIRouter(prefix="/competitions", tags=["competitions"])


@router.get("", summary="All competitions", responses=documented())
def competitions(database: Store, clock: Now) -> list[CompetitionView]:
    """The newest version of every competition: tracks, scales, recipes, the suite, phases."""
    with database.reading() as session:
        return service.list_(session, clock=clock)


@router.get("/{competition}", summary="One competition", responses=documented(404))
def competition(competition: CompetitionId, database: Store, clock: Now) -> CompetitionView:
    """The newest version of a competition, with the digest of its document."""
    with database.reading() as session:
        return service.get(session, competition, clock=clock)
