"""What an evaluation yields: a result per task, with its uncertainty and the outcome of every single query."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from competition.records.base import Identifier, Line, Record, Sha256, Share, Timestamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_OUTCOMES = 10_000_000
"""Of a task, all components together."""
MAX_COMPONENTS = 100_000


class Interval(Record):
    """A confidence interval."""

    low: Share
    high: Share
    confidence: Share = 0.95
    method: Literal["clopper-pearson", "bootstrap"]


class Outcomes(Record):
    """The outcome of every independent unit of one kind, in the evaluation set's order (1 = right, 0 = wrong).

    ``data`` is base64 of zlib-compressed little-endian float16. The score of a task is the mean over its components
    of each component's mean: one component of images for an accuracy or a mean recall (the queries of an image and
    of its captions depend on each other, so they make one unit, whose outcome may be a fraction), one component a
    class for a mean per-class recall. Kept so that entries can be compared unit by unit (paired bootstrap).
    """

    count: int = Field(ge=1, le=MAX_OUTCOMES)
    data: str

    @classmethod
    def encode(cls, values: NDArray[np.floating]) -> Outcomes:
        """From a 1-D array of values, in [0, 1] where every unit has equally many queries."""
        packed = zlib.compress(values.astype("<f2").tobytes(), 9)
        return cls(count=len(values), data=base64.b64encode(packed).decode("ascii"))

    def decode(self) -> NDArray[np.float64]:
        """The 1-D array of ``count`` finite values. Raises ``ValueError`` when the data is something else."""
        import numpy as np

        size = 2 * self.count
        inflater = zlib.decompressobj()
        try:
            raw = inflater.decompress(base64.b64decode(self.data, validate=True), size + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"outcomes cannot be decoded: {error}") from error
        if len(raw) != size:
            raise ValueError(f"outcomes hold {len(raw)} bytes instead of {size}")
        values = np.frombuffer(raw, dtype="<f2").astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError("outcomes are not finite")
        return values


class TaskResult(Record):
    """One task, evaluated. A task that could not be evaluated has no result: unscored is never 0."""

    schema_version: Literal[1] = 1
    task: Identifier
    metric: Line
    value: Share
    interval: Interval
    metrics: dict[str, float | None] = Field(description="every metric of the protocol; None = not defined here")
    samples: int = Field(ge=1, description="test images")
    seconds: float = Field(ge=0)
    outcomes: tuple[Outcomes, ...] = Field(default=(), max_length=MAX_COMPONENTS)

    @model_validator(mode="after")
    def _no_more_outcomes_than_can_be(self) -> Self:
        units = sum(part.count for part in self.outcomes)
        if units > MAX_OUTCOMES:
            raise ValueError(f"{units} outcomes are more than {MAX_OUTCOMES}")
        return self


class EvaluationReport(Record):
    """Version 1 of the report: the results of one model under one suite."""

    schema_version: Literal[1] = 1
    competition: Identifier
    suite: str = Field(pattern=r"^[a-z0-9_-]+@\d+$")
    suite_digest: Sha256
    recipe: Identifier
    recipe_digest: Sha256
    model_sha256: Sha256
    results: tuple[TaskResult, ...]
    code_version: Line
    finished_at: Timestamp
