"""The pages' router, and the page that says what went wrong."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

router = APIRouter()


def error_page(request: Request, status: int, message: str, hint: str) -> Response:  # noqa: ARG001
    """The answer to a browser whose request failed; ``leaderboard.app`` calls it for every path outside /api."""
    return PlainTextResponse(f"{message} {hint}".strip(), status_code=status)
