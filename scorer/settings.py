"""What an operator may choose about a scorer; the one place where its environment variables are read."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from competition.errors import UsageError
from competition.records.base import Line

_GIB = 2**30

CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class ScorerSettings(BaseSettings):
    """Every field is read from the environment variable ``DATACUP_<NAME>``. Durations are in seconds."""

    model_config = SettingsConfigDict(env_prefix="DATACUP_", extra="ignore", frozen=True)

    endpoint: str | None = Field(default=None, description="the leaderboard's address")
    token: SecretStr | None = Field(default=None, description="a token of scope `score`")
    worker: Line = Field(default_factory=socket.gethostname, description="this scorer's name in the event logs")

    cache: Path = Field(default=Path("~/.cache/datacup"), description="where the folders below lie by default")
    mirror: Path | None = Field(default=None, description="content-addressed store of entries; keep it for ever")
    archive: SecretStr | None = Field(
        default=None,
        description="URL of the store that the mirrors of all scorers share (fsspec: s3://, gs://, file://)",
    )
    pools: Path | None = Field(default=None, description="pools: <pools>/<pool id>/metadata/*.parquet")
    evaluation: Path | None = Field(default=None, description="evaluation sets: <evaluation>/<data set>")
    readable: CommaSeparated = Field(
        default=(),
        description="further folders that processes may read, comma-separated: where links in evaluation sets lead to",
    )
    hub_endpoint: str = Field(
        default="https://huggingface.co",
        validation_alias=AliasChoices("HF_ENDPOINT"),
        description="HF_ENDPOINT: the Hub that evaluation sets are downloaded from",
    )
    competitions: CommaSeparated = Field(
        default=(), description="competition files, comma-separated; the built-in competitions are always known"
    )

    hubs: CommaSeparated = Field(
        default=("https://huggingface.co",),
        description="the only Hubs that entries are fetched from, comma-separated; empty: any",
    )
    hub_token: SecretStr | None = Field(default=None, description="a read token for the Hub, if entries are private")
    hub_token_endpoint: str = Field(
        default="https://huggingface.co", description="the only Hub that is shown the token"
    )

    poll_seconds: float = Field(default=5.0, gt=0, description="pause while there is nothing to do")
    heartbeat_seconds: float = Field(default=20.0, gt=0, description="at least every third of the lease in any case")
    intake_seconds: float = Field(default=3600.0, gt=0, description="time limit of fetching, and again of verifying")
    task_seconds: float = Field(default=3600.0, gt=0, description="how long one evaluation task may have its device")
    training_seconds: float = Field(default=7 * 86400.0, gt=0, description="time limit of one training of an audit")
    task_gpus: int | None = Field(
        default=None, ge=0, le=1, description="GPUs of a task on a Ray cluster; unset: 1 where the cluster has any"
    )
    task_cpus: int = Field(default=1, ge=1, description="processor cores of a task on a Ray cluster, and its threads")
    start_seconds: float = Field(
        default=300.0, gt=0, description="time limit of starting a process (imports), and again of loading an entry"
    )
    stop_seconds: float = Field(default=20.0, gt=0, description="after SIGTERM, how long a running step may go on")
    memory_bytes: int = Field(default=64 * _GIB, gt=0, description="resident memory at which a process is ended")
    scratch_bytes: int = Field(default=4 * _GIB, gt=0, description="size of a process' /tmp, which lies in memory")
    free_bytes: int = Field(
        default=_GIB, ge=0, description="left free on the disks of mirror and evaluation sets, else a process is ended"
    )
    max_tasks: int = Field(default=4096, ge=512, description="processes and threads of one process, all together")
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, description="threads of the evaluations")
    metrics_host: str = Field(default="127.0.0.1", description="where --metrics-port listens; anybody there may read")
    log_level: str = Field(default="warning", pattern="^(debug|info|warning|error)$")

    @field_validator("competitions", "hubs", "readable", mode="before")
    @classmethod
    def _from_commas(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @classmethod
    def read(cls) -> ScorerSettings:
        """From the environment (raises ``UsageError`` naming the variable that is wrong)."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            name = "_".join(map(str, first["loc"])).upper()
            raise UsageError(f"DATACUP_{name} cannot be used: {first['msg']}.") from error

    @property
    def mirror_root(self) -> Path:
        """Folder of the mirror."""
        return self._folder(self.mirror, "mirror")

    @property
    def pools_root(self) -> Path:
        """Folder of the pools."""
        return self._folder(self.pools, "pools")

    @property
    def evaluation_root(self) -> Path:
        """Folder of the evaluation sets."""
        return self._folder(self.evaluation, "evaluation")

    @property
    def audits_root(self) -> Path:
        """Folder of audits: shards, trainings and their results, so that a killed one goes on."""
        return self._folder(None, "audits")

    @property
    def further_folders(self) -> tuple[Path, ...]:
        """Folders that links in the evaluation sets lead to."""
        return tuple(Path(folder).expanduser().resolve() for folder in self.readable)

    @property
    def decoded_root(self) -> Path:
        """Folder of decoded evaluation sets (``competition.evaluation.set_cache``, which is dear to import)."""
        return self.evaluation_root / ".decoded"

    def require_endpoint(self) -> str:
        """The leaderboard's address (raises ``UsageError`` when none is set)."""
        if not self.endpoint:
            raise UsageError(
                "No leaderboard is set.", hint="Set DATACUP_ENDPOINT to its address, for example http://127.0.0.1:8000"
            )
        return self.endpoint

    def require_token(self) -> str:
        """The scorer's token (raises ``UsageError`` when none is set)."""
        if self.token is None:
            raise UsageError("No token is set.", hint="Set DATACUP_TOKEN to a token of scope `score`.")
        return self.token.get_secret_value()

    def fetches_from(self, endpoint: str) -> bool:
        """Whether entries on that Hub are fetched: the address is a participant's word."""
        return not self.hubs or endpoint.rstrip("/") in {hub.rstrip("/") for hub in self.hubs}

    def hub_token_for(self, endpoint: str) -> str | None:
        """The Hub token, if this is the Hub that may see it: an entry names its own Hub."""
        if self.hub_token is None or endpoint.rstrip("/") != self.hub_token_endpoint.rstrip("/"):
            return None
        return self.hub_token.get_secret_value()

    def _folder(self, chosen: Path | None, name: str) -> Path:
        return (chosen or self.cache / name).expanduser().resolve()
