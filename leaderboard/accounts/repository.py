"""Queries about accounts and tokens."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from leaderboard.models import Account, Token


def account_by_name(session: Session, name: str) -> Account | None:
    """The account of that name."""
    return session.scalar(select(Account).where(Account.name == name))


def token_by_digest(session: Session, digest: str) -> Token | None:
    """The token of that sha256, with its account."""
    return session.scalar(select(Token).options(joinedload(Token.account)).where(Token.digest == digest))


def token_by_id(session: Session, token_id: int) -> Token | None:
    """The token of that number."""
    return session.get(Token, token_id)


def tokens(session: Session) -> Sequence[Token]:
    """All tokens with their accounts, oldest first."""
    return session.scalars(select(Token).options(joinedload(Token.account)).order_by(Token.id)).all()
