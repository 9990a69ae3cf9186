"""Who is asking. Every rule about what may be seen or done takes a ``Viewer``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from competition.errors import AuthenticationError, PermissionDeniedError


class Scope(StrEnum):
    """What a token may do. ``admin`` includes the other two."""

    SUBMIT = "submit"
    SCORE = "score"
    ADMIN = "admin"


@dataclass(frozen=True)
class Viewer:
    """The account behind a request, with what its token allows; no account for the public."""

    account_id: int | None = None
    account: str | None = None
    scopes: frozenset[Scope] = frozenset()
    expires_at: datetime | None = None
    token_id: int | None = None

    @property
    def is_admin(self) -> bool:
        """Whether this is an organiser."""
        return Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        """Raises ``AuthenticationError`` for the public and ``PermissionDeniedError`` for a token without the scope."""
        if self.account_id is None:
            raise AuthenticationError(
                "This needs a token.", hint="Send the header 'Authorization: Bearer TOKEN' (DATACUP_TOKEN)."
            )
        if scope not in self.scopes and not self.is_admin:
            raise PermissionDeniedError(
                f"This needs a token of scope {scope.value!r}.",
                hint=f"This token's scopes are: {', '.join(sorted(self.scopes))}. Ask the organisers for another one.",
            )


ANONYMOUS = Viewer()


@dataclass(frozen=True)
class Act:
    """Who does something, and when: what every event records."""

    actor: str
    at: datetime


SYSTEM = "system"
