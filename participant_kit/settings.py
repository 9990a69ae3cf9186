"""What the kit reads from the environment. The Hub's token is huggingface_hub's own business (``hf auth login``)."""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from competition.errors import UsageError


class KitSettings(BaseSettings):
    """``DATACUP_ENDPOINT``: the leaderboard's address; ``DATACUP_TOKEN``: a token of scope ``submit``;
    ``DATACUP_CACHE``: where evaluation sets and assets are kept; ``HF_ENDPOINT``: the Hub."""

    model_config = SettingsConfigDict(env_prefix="DATACUP_", extra="ignore")

    endpoint: str | None = None
    token: str | None = Field(default=None, repr=False)
    cache: Path = Path("~/.cache/datacup")
    hub_endpoint: str = Field(default="https://huggingface.co", validation_alias=AliasChoices("HF_ENDPOINT"))

    @property
    def evaluation_root(self) -> Path:
        """Folder of the evaluation sets."""
        return self.cache.expanduser() / "evaluation"

    @property
    def assets_root(self) -> Path:
        """Folder of what strategies need beside a pool: dictionaries, models, centroids."""
        return self.cache.expanduser() / "assets"

    def require_endpoint(self) -> str:
        """The leaderboard's address (raises ``UsageError`` when none is set)."""
        if not self.endpoint:
            raise UsageError(
                "No leaderboard is set.", hint="Set DATACUP_ENDPOINT to its address, for example http://127.0.0.1:8000"
            )
        return self.endpoint

    def require_token(self) -> str:
        """The participant's token (raises ``UsageError`` when none is set)."""
        if not self.token:
            raise UsageError(
                "No token is set.", hint="Set DATACUP_TOKEN to the submit token that the organisers gave you."
            )
        return self.token
