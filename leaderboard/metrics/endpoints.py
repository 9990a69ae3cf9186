"""The page that Prometheus reads, for those whom the settings let."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from competition.exposition import CONTENT_TYPE, exposition
from leaderboard.accounts.viewer import Scope
from leaderboard.clock import Clock
from leaderboard.database import Database
from leaderboard.dependencies import Now, Store, get_clock, get_database, get_settings, get_viewer
from leaderboard.metrics import service
from leaderboard.settings import Settings

router = APIRouter(tags=["service"])
_bearer = HTTPBearer(auto_error=False)


async def _admitted(
    request: Request,
    settings: Annotated[Settings, Depends(get_settings)],
    database: Annotated[Database, Depends(get_database)],
    clock: Annotated[Clock, Depends(get_clock)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Everybody, whoever has the token of the settings, or organisers."""
    if settings.metrics_public:
        return
    token = settings.metrics_token.get_secret_value() if settings.metrics_token is not None else ""
    given = credentials.credentials if credentials is not None else ""
    if token and secrets.compare_digest(given.encode(), token.encode()):
        return
    (await get_viewer(request, database, clock, credentials)).require(Scope.ADMIN)


@router.get("/metrics", summary="Metrics for Prometheus", dependencies=[Depends(_admitted)])
def metrics(database: Store, now: Now) -> Response:
    """Queue age, throughput and failures by reason, as counts."""
    with database.reading() as session:
        return Response(exposition(service.collect(session, now())), media_type=CONTENT_TYPE)
