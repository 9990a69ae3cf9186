"""The Hub as an ASGI application, to be served on a port of its own."""

from __future__ import annotations

import secrets

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect, Request

from competition.errors import DataCupError
from leaderboard.hub import commit_endpoints, content_endpoints, lfs_endpoints, repository_endpoints
from leaderboard.hub.access import HubState
from leaderboard.hub.errors import EntryNotFoundError
from leaderboard.hub.files import locked, make_root, write_whole
from leaderboard.hub.repositories import Repositories
from leaderboard.hub.settings import HubSettings
from leaderboard.hub.signing import UploadSigner
from leaderboard.hub.tokens import Role, create_token, revoke_token

__all__ = ["HubSettings", "Role", "create_hub", "create_token", "revoke_token"]


def create_hub(settings: HubSettings) -> FastAPI:
    """The application over ``settings.root``, which is created if it is missing and readable by its owner only."""
    make_root(settings.root)
    repositories = Repositories(settings.root)
    repositories.sweep()
    app = FastAPI(title="DataCup Hub", openapi_url=None)
    signer = UploadSigner(_secret(settings), settings.upload_url_lifetime_s)
    app.state.hub = HubState(settings, repositories, signer)
    app.add_exception_handler(DataCupError, _on_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    for module in (repository_endpoints, lfs_endpoints, commit_endpoints, content_endpoints):
        app.include_router(module.router)
    return app


def _secret(settings: HubSettings) -> bytes:
    if settings.signing_secret:
        return settings.signing_secret.encode()
    path = settings.root / "signing-secret"
    with locked(settings.root / "locks" / "signing-secret.lock"):
        if not path.is_file():
            write_whole(path, secrets.token_hex(32).encode(), settings.root / "scratch")
        return path.read_bytes()


def _on_error(_: Request, error: Exception) -> Response:
    """Say it in the Hub's way: the client reads two headers, and ``error`` and ``errors`` of the body."""
    assert isinstance(error, DataCupError)
    # A header is ASCII on one line, whatever name a stranger put into the message.
    message = error.message.encode("ascii", "replace").decode().replace("\r", " ").replace("\n", " ")
    headers = {"X-Error-Code": error.code, "X-Error-Message": message}
    if isinstance(error, EntryNotFoundError) and error.commit:
        headers["X-Repo-Commit"] = error.commit
    hints = [{"message": error.hint}] if error.hint else []
    return JSONResponse({"error": error.message, "errors": hints}, status_code=error.http_status, headers=headers)


def _on_disconnect(_request: Request, _error: Exception) -> Response:
    # Nobody reads this; it keeps a broken upload from being logged as a failure of the server.
    return Response(status_code=400)
