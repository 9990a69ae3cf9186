"""The leaderboard as one ASGI application: the API under /api/v1, the website, and the reaper beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from competition import __version__
from competition.errors import DataCupError
from leaderboard import answers
from leaderboard.accounts import endpoints as accounts
from leaderboard.accounts.viewer import SYSTEM, Act
from leaderboard.clock import Clock, utc_now
from leaderboard.competitions import endpoints as competitions
from leaderboard.database import Database
from leaderboard.dependencies import Store, patience_of
from leaderboard.events import endpoints as events
from leaderboard.limits import BodyLimit
from leaderboard.metrics import endpoints as metrics
from leaderboard.references import endpoints as references
from leaderboard.rescoring import endpoints as rescoring
from leaderboard.scoring import endpoints as scoring
from leaderboard.scoring import queue
from leaderboard.settings import Settings
from leaderboard.standings import endpoints as standings
from leaderboard.submissions import audit_endpoints as audits
from leaderboard.submissions import endpoints as submissions
from leaderboard.submissions import service as submission_service
from leaderboard.web import assets, pages

log = structlog.get_logger()

DESCRIPTION = """
Competitions in which the dataset is the entry. Reading is public; entering needs a token of scope `submit`, scoring one
of scope `score`: `Authorization: Bearer TOKEN`. Times are UTC. Every error has the shape
`{"error": {"code", "message", "hint"}}`.
"""


class Health(BaseModel):
    """The service answers, and so does its database."""

    status: str = Field(examples=["ok"])
    version: str


health_router = APIRouter(tags=["service"])


@health_router.get("/health", summary="Is the service well?", responses=answers.documented())
def health(database: Store) -> Health:
    """200 while the service and its database answer."""
    with database.reading() as session:
        session.execute(text("SELECT 1"))
        return Health(status="ok", version=__version__)


def create_app(settings: Settings, *, clock: Clock = utc_now) -> FastAPI:
    """The application. The database must have been migrated; ``clock`` is injected by tests."""
    # FastAPI's own documentation pages load their scripts from another host; /openapi.json is the document itself.
    app = FastAPI(
        title="DataCup leaderboard",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.database = Database(settings.url)
    app.state.clock = clock
    answers.install(app, pages.error_page)
    api = APIRouter(prefix="/api/v1")
    large_below = (f"{api.prefix}{scoring.router.prefix}/", f"{api.prefix}{references.router.prefix}")
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes, large_below=large_below)
    for router in (
        health_router, accounts.router, competitions.router, standings.router, submissions.router,
        submissions.quota_router, events.router, scoring.router, rescoring.router, audits.router,
        references.reading_router, references.router,
    ):  # fmt: skip
        api.include_router(router)
    app.include_router(api)
    app.include_router(metrics.router, include_in_schema=False)
    app.include_router(pages.router, include_in_schema=False)
    app.mount(assets.MOUNT, assets.Assets(), name="static")
    return app


def reap(database: Database, settings: Settings, now: Clock) -> int:
    """One look for lost work in every state that is not final: ended leases, missing jobs, forgotten drafts."""
    with database.writing() as session:
        taken = queue.reap(session, now(), patience_of(settings))
        before = now() - timedelta(days=settings.draft_days)
        return taken + submission_service.cancel_old_drafts(session, before, Act(SYSTEM, now()))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    task = asyncio.create_task(_reap_forever(app)) if settings.reaper_seconds else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        app.state.database.close()


async def _reap_forever(app: FastAPI) -> None:
    settings: Settings = app.state.settings
    while True:
        await asyncio.sleep(settings.reaper_seconds)
        try:
            taken = await asyncio.to_thread(reap, app.state.database, settings, app.state.clock)
        except (SQLAlchemyError, DataCupError) as error:
            # The database is away, or somebody was faster. The next look may fare better; claims look as well.
            log.warning("reaper_failed", error=str(error))
            continue
        if taken:
            log.info("reaped", jobs=taken)
