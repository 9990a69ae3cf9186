"""What an evaluation yields: a result per task, with its uncertainty and the outcome of every single query."""

from __future__ import annotations

import base64
import binascii
import itertools
import zlib
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from competition.records.base import Identifier, Line, Record, Several, Sha256, Share, Timestamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_OUTCOMES = 10_000_000
"""Of a task, all components together."""
MAX_COMPONENTS = 100_000
MAX_CLASSES = 1000
"""Classes of a set up to which a result has one of each."""


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


class ClassResult(Record):
    """The test images of one class, and how many of them the first choice was right for."""

    label: int = Field(ge=0, description="the class's number in the evaluation set")
    name: Line | None = Field(default=None, description="as the evaluation set has it, where it fits into a line")
    right: int = Field(ge=0)
    n: int = Field(ge=1, description="test images; a class without any has no result")

    @model_validator(mode="after")
    def _no_more_right_than_there_are(self) -> Self:
        if self.right > self.n:
            raise ValueError(f"class {self.label} has {self.right} right answers and {self.n} images")
        return self


_LATER = frozenset({"device", "device_seconds"})


class TaskResult(Record):
    """One task, evaluated. A task that could not be evaluated has no result: unscored is never 0."""

    schema_version: Literal[1] = 1
    task: Identifier
    metric: Line
    value: float = Field(description="finite; in [0, 1] where the metric is a share")
    interval: Interval | None = Field(description="None: the metric has no independent units to resample")
    metrics: dict[str, float | None] = Field(description="every metric of the protocol; None = not defined here")
    samples: int = Field(ge=1, description="test images that were scored")
    unreadable: int = Field(
        default=0,
        ge=0,
        le=MAX_OUTCOMES,
        description="test images that cannot be decoded: left out, and within the task's tolerance",
    )
    set_digest: Sha256 | None = Field(
        default=None,
        description="identity of the evaluation set's files, as its lock has it or would have it; None: not known",
    )
    seconds: float = Field(ge=0)
    images_per_second: float | None = Field(default=None, ge=0, description="scored test images by the task's seconds")
    peak_memory_bytes: int | None = Field(
        default=None,
        ge=0,
        le=2**60,
        description="on a GPU, the most that torch had allocated there while the task ran; on the CPU, the largest "
        "resident size that the process ever had, with all tasks before this one; the report's device says which",
    )
    device: Line | None = Field(default=None, description="of a scorer's result: cpu, or the name of the GPU")
    device_seconds: float | None = Field(
        default=None,
        ge=0,
        description="of a scorer's result: how long the task had the device, waiting for it not counted",
    )
    classes: Several[ClassResult] = Field(
        default=(), max_length=MAX_CLASSES, description="of sets with up to 1,000 classes, by number; else none"
    )
    units: Line | None = Field(
        default=None, description="whose outcomes these are, where the value is of one group, such as the worst region"
    )
    outcomes: Several[Outcomes] = Field(default=(), max_length=MAX_COMPONENTS)

    @model_serializer(mode="wrap")
    def _as_before_where_no_scorer_added_anything(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Results without the later fields keep the digests that they had before there were these fields."""
        fields: dict[str, Any] = serialise(self)
        return {name: value for name, value in fields.items() if name not in _LATER or value is not None}

    @model_validator(mode="after")
    def _no_more_outcomes_than_can_be(self) -> Self:
        units = sum(part.count for part in self.outcomes)
        if units > MAX_OUTCOMES:
            raise ValueError(f"{units} outcomes are more than {MAX_OUTCOMES}")
        return self

    @model_validator(mode="after")
    def _one_result_a_class(self) -> Self:
        labels = [each.label for each in self.classes]
        if any(first >= second for first, second in itertools.pairwise(labels)):
            raise ValueError("classes are named once, in the order of their numbers")
        return self


class EvaluationReport(Record):
    """Version 1 of the report: the results of one subject under one suite.

    The subject is a run (``recipe``, ``recipe_digest`` and ``model_sha256``), a published model to compare with
    (``reference_model``, with ``model_sha256`` where its weights are a file) or a file of predictions
    (``predictions_sha256``), and nothing beside.
    """

    schema_version: Literal[1] = 1
    competition: Identifier | None = Field(default=None, description="whose run it is; a suite may be no competition's")
    suite: str = Field(pattern=r"^[a-z0-9_-]+@\d+$")
    suite_digest: Sha256
    recipe: Identifier | None = None
    recipe_digest: Sha256 | None = None
    model_sha256: Sha256 | None = Field(default=None, description="of the weights")
    reference_model: Line | None = Field(default=None, description="timm:NAME or open_clip:NAME/TAG")
    predictions_sha256: Sha256 | None = None
    images_digest: Sha256 | None = Field(
        default=None, description="of the entry's images, where tasks about them could be run"
    )
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="in which the model ran")
    device: Line | None = Field(default=None, description="cpu, or the name of the GPU")
    results: Several[TaskResult]
    code_version: Line
    finished_at: Timestamp

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        run = (self.recipe, self.recipe_digest)
        kinds = (any(run), self.reference_model is not None, self.predictions_sha256 is not None)
        if sum(kinds) != 1:
            raise ValueError("a report is of a run, of a reference model or of predictions: of exactly one of them")
        if any(run) and not (all(run) and self.model_sha256 and self.competition):
            raise ValueError(
                "a report of a run names its competition, its recipe, and the digests of recipe and weights"
            )
        if self.predictions_sha256 is not None and self.model_sha256 is not None:
            raise ValueError("a report of predictions names no weights")
        return self
