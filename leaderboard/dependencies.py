"""What endpoints ask for: the database, the viewer, the time, the settings.

An endpoint opens its transactions itself, in the thread that it runs in, and a write commits before its answer is sent,
so that no answer promises what a failed commit breaks. No connection is taken before the first query: a thread
that waits for one could otherwise keep its holder from going on. What waits for nothing is a coroutine: the framework
runs functions in threads, and every change of thread costs.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, ClassVar

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from leaderboard.accounts import service as accounts
from leaderboard.accounts.viewer import ANONYMOUS, Scope, Viewer
from leaderboard.clock import Clock
from leaderboard.database import Database
from leaderboard.scoring import job_tokens
from leaderboard.scoring.job_tokens import Holder
from leaderboard.scoring.queue import Patience
from leaderboard.settings import Settings

_bearer = HTTPBearer(auto_error=False, description="A token made by `datacup-leaderboard token create`.")
_job_bearer = HTTPBearer(
    scheme_name="JobToken", auto_error=False, description="The token of one attempt at a job, from the claim's answer."
)


async def get_database(request: Request) -> Database:
    """The application's database."""
    database = request.app.state.database
    assert isinstance(database, Database)
    return database


async def get_settings(request: Request) -> Settings:
    """The application's settings."""
    settings = request.app.state.settings
    assert isinstance(settings, Settings)
    return settings


async def get_clock(request: Request) -> Clock:
    """The application's clock."""
    clock: Clock = request.app.state.clock
    return clock


def patience_of(settings: Settings) -> Patience:
    """How long leases last and how often work is tried again."""
    return Patience(lease=settings.lease_seconds, tries=settings.max_attempts, backoff=settings.backoff_seconds)


async def get_patience(request: Request) -> Patience:
    """The application's patience."""
    return patience_of(await get_settings(request))


async def get_viewer(
    request: Request,
    database: Annotated[Database, Depends(get_database)],
    clock: Annotated[Clock, Depends(get_clock)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Viewer:
    """Who is asking: the public, or the account of the token. A bad token is refused even where none is needed.

    The token is looked up once a request, however many ask.
    """
    viewer = getattr(request.state, "viewer", None)
    if viewer is None:
        viewer = ANONYMOUS
        if credentials is not None:
            viewer = await run_in_threadpool(_authenticate, database, credentials.credentials, clock)
        request.state.viewer = viewer
    assert isinstance(viewer, Viewer)
    return viewer


def _authenticate(database: Database, token: str, clock: Clock) -> Viewer:
    with database.reading() as session:
        return accounts.authenticate(session, token, clock())


async def get_holder(
    request: Request,
    database: Annotated[Database, Depends(get_database)],
    clock: Annotated[Clock, Depends(get_clock)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_job_bearer)],
) -> Holder:
    """Who speaks for the attempt at the job that the request is about. The token is looked up once a request."""
    found = getattr(request.state, "holder", None)
    if found is None:
        token = None if credentials is None else credentials.credentials
        found = await run_in_threadpool(_hold, database, token, str(request.path_params["job_id"]), clock)
        request.state.holder = found
    assert isinstance(found, Holder)
    return found


def _hold(database: Database, token: str | None, job_id: str, clock: Clock) -> Holder:
    with database.reading() as session:
        return job_tokens.holder(session, token, job_id, clock())


class _GuardedRoute(APIRoute):
    """A route that looks at the token before it reads the body: only who holds ``scope`` may send large ones.

    Where the path names a job, the token must be that of the job.
    """

    scope: ClassVar[Scope]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the check."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            database, clock = await get_database(request), await get_clock(request)
            if "job_id" in request.path_params:
                await get_holder(request, database, clock, await _job_bearer(request))
            else:
                viewer = await get_viewer(request, database, clock, await _bearer(request))
                viewer.require(self.scope)
            return await handle(request)

        return checked


class WorkerRoute(_GuardedRoute):
    """A route of workers."""

    scope = Scope.SCORE


class OrganiserRoute(_GuardedRoute):
    """A route of organisers."""

    scope = Scope.ADMIN


def _requires(scope: Scope) -> Callable[[Viewer], Coroutine[Any, Any, Viewer]]:
    async def check(viewer: Annotated[Viewer, Depends(get_viewer)]) -> Viewer:
        viewer.require(scope)
        return viewer

    return check


Store = Annotated[Database, Depends(get_database)]
AnyViewer = Annotated[Viewer, Depends(get_viewer)]
Submitter = Annotated[Viewer, Depends(_requires(Scope.SUBMIT))]
Scorer = Annotated[Viewer, Depends(_requires(Scope.SCORE))]
JobHolder = Annotated[Holder, Depends(get_holder)]
Organiser = Annotated[Viewer, Depends(_requires(Scope.ADMIN))]
Now = Annotated[Clock, Depends(get_clock)]
Chosen = Annotated[Settings, Depends(get_settings)]
WorkPatience = Annotated[Patience, Depends(get_patience)]
