"""How a dataset was made (``dataset.json``): every step of its pipeline, with parameters, counts and digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from competition.canonical import digest
from competition.records.base import FileName, Identifier, Line, Prose, Record, Several, Sha256, Timestamp

LINEAGE_NAME = "dataset.json"
MAX_LINEAGE_BYTES = 1_000_000
MAX_STEPS = 256

Operation = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+( [a-z0-9_-]+)?$", max_length=64)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$", max_length=64)]
Whole = Annotated[int, Field(ge=-(2**53) + 1, le=2**53 - 1)]  # canonical JSON knows no larger one
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Value = bool | Whole | float | Prose
Option = Value | Annotated[Several[Value], Field(max_length=1024)]


class SourceFile(Record):
    """A file beside the pool that a step depends on; of a folder, ``sha256`` is over the names and digests in it."""

    file: FileName
    sha256: Sha256


class LineagePool(Record):
    """The pool. ``digest`` is over the names and sha256 of its metadata files, and over the names and checksums of its
    feature files: the same wherever the pool lies."""

    metadata_files: int = Field(ge=1, le=2**53 - 1)
    digest: Sha256


class LineageStep(Record):
    """One step. Of the ``total`` rows that it read it kept some; ``kept`` without ``repeats`` and with those
    ``dropped`` is ``total``."""

    name: Identifier
    operation: Operation
    options: dict[Word, Option] = Field(max_length=64)
    inputs: Several[Identifier] = Field(max_length=MAX_STEPS, description="names of earlier steps")
    reads_pool: bool
    assets: dict[Word, SourceFile] = Field(max_length=1024)
    digest: Sha256 = Field(description="of all that the result depends on, see stage_digest")
    total: Count
    kept: Count
    repeats: Count = Field(description="rows kept beyond the first of those that were drawn more than once")
    dropped: dict[Word, Count] = Field(max_length=256)
    subset_sha256: Sha256

    @model_validator(mode="after")
    def _sums(self) -> Self:
        if self.kept - self.repeats + sum(self.dropped.values()) != self.total:
            raise ValueError(f"the rows that step {self.name} kept and dropped are not those that it read")
        return self


class DatasetLineage(Record):
    """Version 1 of the lineage. Steps are in an order in which they can run; the last one is the dataset."""

    schema_version: Literal[1] = 1
    pool: LineagePool
    steps: Several[LineageStep] = Field(min_length=1, max_length=MAX_STEPS)
    code_version: Line
    created_at: Timestamp

    @model_validator(mode="after")
    def _chained(self) -> Self:
        """Every digest is that of what the step says of itself and of the steps before it."""
        known: dict[str, str] = {}
        for step in self.steps:
            if step.name in known:
                raise ValueError(f"step {step.name} is there twice")
            missing = [name for name in step.inputs if name not in known]
            if missing:
                raise ValueError(f"step {step.name} takes {missing[0]}, which is no earlier step")
            expected = stage_digest(
                step.operation,
                step.options,
                inputs=[known[name] for name in step.inputs],
                pool=self.pool.digest if step.reads_pool else None,
                assets={role: source.sha256 for role, source in step.assets.items()},
                code_version=self.code_version,
            )
            if step.digest != expected:
                raise ValueError(f"the digest of step {step.name} is not that of its parameters")
            known[step.name] = step.digest
        return self

    @property
    def result(self) -> LineageStep:
        """The step whose subset is the dataset."""
        return self.steps[-1]


def stage_digest(
    operation: str,
    options: Mapping[str, Any],
    *,
    inputs: Sequence[str],
    pool: str | None,
    assets: Mapping[str, str],
    code_version: str,
) -> str:
    """Names all that the result of a step depends on; its own name and place in the file are no part of it.

    Args:
        operation: what it does.
        options: JSON, with defaults; a file by name.
        inputs: digests of the steps that it takes, in order.
        pool: digest of the pool, if it reads it.
        assets: sha256 of further files by role.
        code_version: of DataCup.
    """
    content = {
        "operation": operation,
        "options": {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
        "inputs": list(inputs),
        "pool": pool,
        "assets": dict(assets),
        "code_version": code_version,
    }
    return digest(content)
