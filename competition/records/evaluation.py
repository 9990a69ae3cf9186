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


class Interval(Record):
    """A confidence interval: any finite bounds, since a metric need not be a share."""

    low: float
    high: float
    confidence: Share = 0.95
    method: Literal["clopper-pearson", "bootstrap"]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"an interval cannot begin at {self.low:g} and end at {self.high:g}")
        return self


class Outcomes(Record):
    """The outcome of every independent unit of one kind, in the evaluation set's order (1 = right, 0 = wrong).

    ``data`` is base64 of zlib-compressed little-endian float16: three digits of values up to 65,504. The score of a
    task is the mean over its components of each component's mean: one component of images for an accuracy or a mean
    recall (the queries of an image and of its captions depend on each other, so they make one unit, whose outcome may
    be a fraction), one component a class for a mean per-class recall. Kept so that entries can be compared unit by
    unit (paired bootstrap).
    """

    count: int = Field(ge=1, le=MAX_OUTCOMES)
    data: str

    @classmethod
    def encode(cls, values: NDArray[np.floating]) -> Outcomes:
        """From a 1-D array of values: in [0, 1] where units have equally many queries and the metric is a share.

        Raises ``ValueError`` for a value that is not finite, or that float16 cannot hold (beyond 65,504).
        """
        import numpy as np

        with np.errstate(over="ignore"):
            halves = values.astype("<f2")
        if not np.isfinite(halves).all():
            raise ValueError("outcomes must be finite, and at most 65,504 in size")
        packed = zlib.compress(halves.tobytes(), 9)
        return cls(count=len(values), data=base64.b64encode(packed).decode("ascii"))

    def decode(self) -> NDArray[np.float64]:
        """The 1-D array of ``count`` values. Raises ``ValueError`` when the data is not what ``count`` promises."""
        import numpy as np

        size = 2 * self.count
        inflater = zlib.decompressobj()
        try:
            raw = inflater.decompress(base64.b64decode(self.data, validate=True), size + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"outcomes cannot be decoded: {error}") from error
        if len(raw) != size:
            raise ValueError(f"outcomes hold {len(raw)} bytes instead of {size}")
        return np.frombuffer(raw, dtype="<f2").astype(np.float64)


class TaskResult(Record):
    """One task, evaluated. A task that could not be evaluated has no result: unscored is never 0."""

    schema_version: Literal[1] = 1
    task: Identifier
    metric: Line
    value: float = Field(description="finite; in [0, 1] where the metric is a share")
    interval: Interval | None = Field(description="None: the metric has no independent units to resample")
    metrics: dict[str, float | None] = Field(description="every metric of the protocol; None = not defined here")
    samples: int = Field(ge=1, description="test images")
    seconds: float = Field(ge=0)
    outcomes: tuple[Outcomes, ...] = ()


class EvaluationReport(Record):
    """Version 1 of the report: the results of one model, or of predictions made elsewhere, under one suite.

    Of predictions nobody knows the model and its recipe: these fields are None, and ``predictions_sha256`` names the
    file. A report of a model leaves that field out.
    """

    schema_version: Literal[1] = 1
    competition: Identifier
    suite: str = Field(pattern=r"^[a-z0-9_-]+@\d+$")
    suite_digest: Sha256
    recipe: Identifier | None
    recipe_digest: Sha256 | None
    model_sha256: Sha256 | None
    predictions_sha256: Sha256 | None = Field(default=None, exclude_if=lambda value: value is None)
    images_digest: Sha256 | None = Field(
        default=None, description="of the entry's images, where tasks about them could be run"
    )
    results: tuple[TaskResult, ...]
    code_version: Line
    finished_at: Timestamp

    @model_validator(mode="after")
    def _of_a_model_or_of_predictions(self) -> Self:
        of_model = {value is not None for value in (self.recipe, self.recipe_digest, self.model_sha256)}
        if of_model != {self.predictions_sha256 is None}:
            raise ValueError("a report is of a model with its recipe, or of predictions")
        return self
