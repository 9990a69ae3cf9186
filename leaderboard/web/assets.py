"""The static files: served with validators, and for ever where the address carries the content's digest."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).resolve().parent / "static"
MOUNT = "/static"


@cache
def url(name: str) -> str:
    """Address of a static file; it changes when the file's content does. Raises ``FileNotFoundError``."""
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]
    return f"{MOUNT}/{name}?v={digest}"


class Assets(StaticFiles):
    """Starlette's static files (ETag, 304, ranges) plus how long each answer may be kept."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, with ``Cache-Control``: a year for a versioned address, else revalidation each time."""
        response = await super().get_response(path, scope)
        versioned = scope["query_string"].startswith(b"v=")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if versioned else "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
