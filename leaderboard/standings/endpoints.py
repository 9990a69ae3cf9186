"""Routes about standings."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from competition.records.base import Identifier
from competition.records.standings import StandingsView
from leaderboard.answers import documented
from leaderboard.dependencies import AnyViewer, Now, Store
from leaderboard.parameters import CompetitionId
from leaderboard.standings import service

router = APIRouter(prefix="/competitions", tags=["standings"])


@router.get("/{competition}/standings", summary="Standings of a track and scale", responses=documented(401, 404))
def standings(
    competition: CompetitionId,
    track: Annotated[Identifier, Query()],
    scale: Annotated[Identifier, Query()],
    database: Store,
    viewer: AnyViewer,
    clock: Now,
) -> StandingsView:
    """Verified entries, best first, each with the range of ranks that the data allow (95 %, paired bootstrap).

    A score that is not available is null and comes last. Baselines stand in place without a rank. Where a score has no
    interval, its rank range is null: placed by its value, and how certain that is is not known. `less_is_better` says
    that the least score is the first.
    """
    with database.reading() as session:
        return service.view(session, competition, track, scale, viewer=viewer, clock=clock)
