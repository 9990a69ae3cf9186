"""Accounts and bearer tokens: random, known to us only by their sha256, scoped, expiring, revocable."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from competition.errors import AuthenticationError, NotFoundError, UsageError
from leaderboard.accounts import repository
from leaderboard.accounts.viewer import SYSTEM, Scope, Viewer
from leaderboard.models import Account, Token

PREFIX = "dcp_"
_NAME = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
_MAX_NAME = 64


def create_token(
    session: Session, *, account: str, scopes: Iterable[Scope], now: datetime, expires_at: datetime
) -> str:
    """Make a token, and the account if there is none yet. The token is returned this once and stored nowhere.

    Raises ``UsageError`` for a name that cannot be one, for no scope at all, or for an expiry that has passed.
    """
    wanted = sorted(set(scopes))
    if not wanted:
        raise UsageError("A token needs a scope.", hint=f"Scopes are: {', '.join(Scope)}.")
    if expires_at <= now:
        raise UsageError("The token would have expired already.", hint="Give it at least one day.")
    owner = _account(session, account, now)
    token = PREFIX + secrets.token_urlsafe(32)
    session.add(
        Token(
            account_id=owner.id,
            digest=_digest(token),
            scopes=[scope.value for scope in wanted],
            created_at=now,
            expires_at=expires_at,
        )
    )
    session.flush()
    return token


def authenticate(session: Session, token: str, now: datetime) -> Viewer:
    """Whom a token speaks for (raises ``AuthenticationError`` when it is unknown, expired or revoked)."""
    digest = _digest(token)
    found = repository.token_by_digest(session, digest)
    if found is None or not hmac.compare_digest(found.digest, digest):
        raise AuthenticationError("The token is not known.", hint="Check DATACUP_TOKEN, or ask the organisers for one.")
    if found.revoked_at is not None:
        raise AuthenticationError("The token was revoked.", hint="Ask the organisers for a new one.")
    if found.expires_at <= now:
        raise AuthenticationError(
            f"The token expired at {found.expires_at:%Y-%m-%d %H:%M:%S} UTC.", hint="Ask the organisers for a new one."
        )
    scopes = frozenset(Scope(scope) for scope in found.scopes)
    return Viewer(found.account_id, found.account.name, scopes, found.expires_at, found.id)


def revoke_token(session: Session, token_id: int, now: datetime) -> None:
    """Make a token worthless from now on; repeating it changes nothing (raises ``NotFoundError``)."""
    found = repository.token_by_id(session, token_id)
    if found is None:
        raise NotFoundError(
            f"There is no token {token_id}.",
            hint="`datacup-leaderboard token list` shows the tokens with their numbers.",
        )
    found.revoked_at = found.revoked_at or now


def tokens(session: Session) -> Sequence[Token]:
    """All tokens with their accounts, oldest first."""
    return repository.tokens(session)


def _account(session: Session, name: str, now: datetime) -> Account:
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name) or name == SYSTEM:
        raise UsageError(
            f"{name!r} cannot be an account's name.",
            hint=f"Use lower-case letters and digits, joined by - or _, at most {_MAX_NAME}; {SYSTEM!r} is taken.",
        )
    found = repository.account_by_name(session, name)
    if found is None:
        found = Account(name=name, created_at=now)
        session.add(found)
        session.flush()
    return found


def _digest(token: str) -> str:
    # 256 random bits need no slow hash.
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
