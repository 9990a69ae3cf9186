"""The report of one training run (``training_report.json``)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from competition.records.base import Identifier, Line, Record, Sha256, Timestamp


class TrainingData(Record):
    """What the run was trained on. ``digest`` is the sha256 over the sorted (shard name, shard sha256) pairs."""

    shards: int = Field(ge=1)
    samples: int = Field(ge=1)
    digest: Sha256
    corrupt_samples: int = Field(ge=0, description="undecodable samples met while training")


class Hardware(Record):
    """The machine, in words."""

    device: Line
    threads: int = Field(ge=1)
    torch_version: Line


class TrainingReport(Record):
    """Version 1 of the report."""

    schema_version: Literal[1] = 1
    competition: Identifier
    recipe: Identifier
    recipe_digest: Sha256
    seed: int = Field(ge=0)
    steps: int = Field(ge=1)
    samples_seen: int = Field(ge=1)
    final_loss: float
    data: TrainingData
    model_sha256: Sha256
    hardware: Hardware
    code_version: Line
    started_at: Timestamp
    finished_at: Timestamp
    seconds: float = Field(ge=0, description="training time, summed over resumed parts")
