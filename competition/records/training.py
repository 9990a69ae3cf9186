"""The report of one training run (``training_report.json``)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from competition.records.base import Identifier, Line, Record, Several, Sha256, Timestamp


class DataPart(Record):
    """One shard (or another piece of a source)."""

    name: Line
    samples: int = Field(ge=0)
    sha256: Sha256


class TrainingData(Record):
    """What the run was trained on.

    ``digest`` is the sha256 over the sorted (name, sha256) pairs of the parts; of several sources, over theirs in
    order and the weights. Where labels come from a table, it is the sha256 over that and ``labels_sha256``.
    """

    shards: int = Field(ge=1)
    samples: int = Field(ge=1)
    digest: Sha256
    corrupt_samples: int = Field(ge=0, description="undecodable samples met while training")
    source_samples: Several[int] = Field(default=(), description="samples of every source, in order")
    weights: Several[float] | None = Field(default=None, description="how often sources are seen, in proportion")
    labels_sha256: Sha256 | None = Field(
        default=None, description="over the pairs of uid and class number of the table of labels, sorted by uid"
    )
    parts: Several[DataPart] = Field(default=(), description="the first 100,000, in the order of the sources")


class Hardware(Record):
    """The machine, in words."""

    device: Line
    devices: int = Field(default=1, ge=1, description="processes that trained together")
    threads: int = Field(ge=1)
    torch_version: Line
    cpu_capability: Line = "unknown"


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
    gpu_hours: float = Field(default=0.0, ge=0)
