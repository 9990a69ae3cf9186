"""What the API says about the caller."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from competition.records.base import Record
from leaderboard.accounts.viewer import Scope


class Me(Record):
    """The account behind the token of this request."""

    account: str
    scopes: list[Scope] = Field(description="what the token may do; admin includes the others")
    expires_at: AwareDatetime
