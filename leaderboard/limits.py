"""The bound on request bodies, held while they arrive: a stranger's gigabytes never reach memory."""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Room for a registration whose every character is escaped.
SMALL_BODY_BYTES = 64 * 1024
# Longer numbers than any body's length has digits are not parsed.
_MAX_DIGITS = 18


class BodyLimit:
    """ASGI middleware that refuses (413) to read a body that is too large, announced or not.

    Bodies may have ``SMALL_BODY_BYTES``; below the paths ``large_below``, where routes look at the token before they
    read anything, ``max_bytes``. JSON can take thirty times its size in memory.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, large_below: tuple[str, ...]) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.large_below = large_below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting what is read of its body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.max_bytes if scope["path"].startswith(self.large_below) else SMALL_BODY_BYTES
        length = dict(scope["headers"]).get(b"content-length", b"0")
        announced = int(length) if length.isdigit() and len(length) <= _MAX_DIGITS else limit + 1
        received = 0

        async def counting() -> Message:
            nonlocal received
            if announced <= limit:
                message = await receive()
                received += len(message.get("body", b""))
                if received <= limit:
                    return message
            # Raised inside the application, so that its handler gives it the one shape of errors.
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {limit} bytes")

        await self.app(scope, counting, send)
