"""The Hub's own access tokens: one small file each, named by the token's sha256, so a stolen disk reveals none."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from competition.errors import AuthenticationError, UsageError
from leaderboard.hub.files import make_root, write_whole
from leaderboard.hub.names import is_user_name

_PREFIX = "hub_"


class Role(StrEnum):
    """What a token may do in its user's namespace; every token reads public repositories."""

    READ = "read"
    WRITE = "write"


class Account(BaseModel):
    """Whom a token speaks for."""

    model_config = ConfigDict(frozen=True)

    user: str
    role: Role
    created_at: datetime
    expires_at: datetime | None


def create_token(root: Path, user: str, role: Role | str, expires: datetime | None) -> str:
    """Make a token for a user of the Hub in ``root`` and return it; it cannot be shown again.

    ``expires`` is an aware time, or None for never. Users need no other registration: a user exists by having a token.
    Raises UsageError for a user name that cannot be a namespace, an unknown role or a naive time.
    """
    if not is_user_name(user):
        raise UsageError(
            f"{user!r} cannot be a user name of the Hub.",
            hint="Use letters, digits, '-', '_' and '.'; 'api', 'lfs' and the kinds of repository are taken.",
        )
    if role not in set(Role):
        raise UsageError(f"{role!r} is not a role of a Hub token.", hint="Use 'read' or 'write'.")
    if expires is not None and expires.tzinfo is None:
        raise UsageError("The expiry of a token needs a time zone.")
    token = _PREFIX + secrets.token_urlsafe(32)
    account = Account(user=user, role=Role(role), created_at=datetime.now(UTC), expires_at=expires)
    make_root(root)
    write_whole(_path(root, token), account.model_dump_json().encode(), root / "scratch")
    return token


def revoke_token(root: Path, token: str) -> None:
    """Make a token worthless; one that is unknown is worthless already."""
    _path(root, token).unlink(missing_ok=True)


def find_account(root: Path, token: str) -> Account:
    """Raises AuthenticationError for an unknown or expired token."""
    try:
        account = Account.model_validate_json(_path(root, token).read_bytes())
    except FileNotFoundError:
        raise _refused() from None
    if account.expires_at is not None and account.expires_at <= datetime.now(UTC):
        raise _refused()
    return account


def _refused() -> AuthenticationError:
    # The client tells a bad token from a missing repository by these very words.
    return AuthenticationError(
        "Invalid credentials in Authorization header", hint="The token is unknown or has expired: ask for a new one."
    )


def _path(root: Path, token: str) -> Path:
    # A token is 256 random bits, so a plain hash is enough; looking it up by name leaks no timing of a comparison.
    digest = hashlib.sha256(token.encode(errors="replace")).hexdigest()
    return root / "tokens" / f"{digest}.json"
