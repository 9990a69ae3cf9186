"""Upload URLs that authorise themselves: clients send no token when they PUT an LFS object."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from competition.errors import PermissionDeniedError


@dataclass(frozen=True)
class UploadSigner:
    """Signs and checks (method, path, size) with HMAC-SHA256 until an expiry; ``lifetime_s`` is in seconds."""

    secret: bytes = field(repr=False)
    lifetime_s: float
    clock: Callable[[], float] = time.time

    def query(self, method: str, path: str, size: int) -> str:
        """The query string that allows ``method`` on ``path`` with a body for an object of ``size`` bytes."""
        expires = int(self.clock() + self.lifetime_s)
        signature = self._sign(method, path, size, expires)
        return urlencode({"size": size, "expires": expires, "signature": signature})

    def check(self, method: str, path: str, size: int, expires: int, signature: str) -> None:
        """Raises PermissionDeniedError unless the values are those of an unexpired ``query``."""
        hint = "Start the upload again: the client asks for a fresh URL."
        if not hmac.compare_digest(self._sign(method, path, size, expires).encode(), signature.encode()):
            raise PermissionDeniedError("The signature of this upload URL is wrong.", hint=hint)
        if self.clock() >= expires:
            raise PermissionDeniedError("This upload URL has expired.", hint=hint)

    def _sign(self, method: str, path: str, size: int, expires: int) -> str:
        text = "\n".join((method, path, str(size), str(expires)))
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()
