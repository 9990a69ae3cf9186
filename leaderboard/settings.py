"""What the leaderboard reads from the environment, all in one place: variables with the prefix ``DATACUP_``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from competition.errors import UsageError

OFFICIAL_HUB = "https://huggingface.co"


class Settings(BaseSettings):
    """An operator's choices. Times are in seconds, sizes in bytes.

    ``data_dir`` holds what this machine keeps: the SQLite file and the local Hub. ``database_url`` replaces the file,
    as in ``postgresql://user@host/name``.
    """

    model_config = SettingsConfigDict(env_prefix="DATACUP_", extra="ignore", frozen=True)

    data_dir: Path = Path("datacup-data")
    database_url: str = Field(default="", repr=False)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    competitions: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("digits",), description="published at migration: names or paths of competition files, comma-separated"
    )
    hubs: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(OFFICIAL_HUB,),
        description="the only Hubs that entries may name, comma-separated; set to nothing: any",
    )
    lease_seconds: int = Field(default=60, gt=0, le=86_400)
    max_attempts: int = Field(
        default=10, ge=1, description="tries without progress, over an hour and more, before a job is given up"
    )
    backoff_seconds: float = Field(default=10.0, ge=0, description="wait before the second try; doubles each time")
    reaper_seconds: float = Field(default=15.0, ge=0, description="between two looks for lost jobs; 0 = only at claims")
    draft_days: int = Field(default=30, ge=1, description="a registration without an upload is cancelled after these")
    max_body_bytes: int = Field(default=32 * 2**20, gt=0, description="of a worker's message; others have 64 KiB")

    metrics_public: bool = Field(default=False, description="whether everybody may read /metrics")
    metrics_token: SecretStr | None = Field(
        default=None, description="what Prometheus shows as bearer token at /metrics; without one only organisers read"
    )

    @field_validator("competitions", "hubs", mode="before")
    @classmethod
    def _from_commas(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    def takes_from(self, endpoint: str) -> bool:
        """Whether entries may lie on that Hub: scorers will fetch from the address that a stranger names."""
        return not self.hubs or endpoint.rstrip("/") in {hub.rstrip("/") for hub in self.hubs}

    @property
    def main_hub(self) -> str:
        """The Hub that the site's instructions name."""
        return self.hubs[0].rstrip("/") if self.hubs else OFFICIAL_HUB

    @property
    def url(self) -> str:
        """The database's address; a file in ``data_dir`` unless one is given."""
        return self.database_url or f"sqlite:///{self.data_dir / 'leaderboard.db'}"

    @property
    def hub_root(self) -> Path:
        """Folder of the local Hub."""
        return self.data_dir / "hub"


def read_settings() -> Settings:
    """The settings of this process' environment (raises ``UsageError`` naming the variable that does not fit)."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"][:1]).upper()
        raise UsageError(
            f"The environment variable DATACUP_{name} does not fit: {first['msg']}.", hint="Correct or unset it."
        ) from error
