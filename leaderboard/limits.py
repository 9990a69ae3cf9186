"""The bound on request bodies, held while they arrive: a stranger's gigabytes never reach memory."""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Longer numbers than any body's length has digits are not parsed.
_MAX_DIGITS = 18


class BodyLimit:
    """ASGI middleware that refuses (413) to read a body of more than ``max_bytes``, announced or not."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting what is read of its body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        announced = int(length) if length.isdigit() and len(length) <= _MAX_DIGITS else self.max_bytes + 1
        received = 0

        async def counting() -> Message:
            nonlocal received
            if announced <= self.max_bytes:
                message = await receive()
                received += len(message.get("body", b""))
                if received <= self.max_bytes:
                    return message
            # Raised inside the application, so that its handler gives it the one shape of errors.
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {self.max_bytes} bytes")

        await self.app(scope, counting, send)
