"""What the organiser's commands read from the environment."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from competition.client import LeaderboardClient
from competition.errors import UsageError


class OrganizerSettings(BaseSettings):
    """``DATACUP_ENDPOINT``: the leaderboard's address; ``DATACUP_TOKEN``: a token of scope ``admin``."""

    model_config = SettingsConfigDict(env_prefix="DATACUP_", extra="ignore", frozen=True)

    endpoint: str = ""
    token: str = Field(default="", repr=False)

    def connect(self, *, reading: bool = False) -> LeaderboardClient:
        """A client of the leaderboard; ``reading`` needs no token (raises ``UsageError`` when something is not set)."""
        if not self.endpoint:
            raise UsageError(
                "No leaderboard is set.", hint="Set DATACUP_ENDPOINT to its address, for example http://127.0.0.1:8000"
            )
        if not self.token and not reading:
            raise UsageError(
                "No token is set.",
                hint="Set DATACUP_TOKEN to one that `datacup-leaderboard token create --scope admin` printed.",
            )
        return LeaderboardClient(self.endpoint, self.token or None)
