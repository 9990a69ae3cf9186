"""Features of labelled images: what probes, neighbours and class centres are made of and tested with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError, ModelOutputError

_CHECKED_ROWS = 1 << 14
_SMALLEST_LENGTH = 1e-12
_LARGEST = float(np.finfo(np.float32).max)
_HINT = "Get or build the evaluation sets again, and compute the features again."


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """Features of images and their classes.

    Args:
        features: float32 [N, D], of any length; they may be mapped from a file.
        labels: int64 [N], from 0; or [N, C] of 0 and 1 where an image shows several of C classes, or none.
        name: where they are from, for messages, as after "the"; the protocols that give them a role need none.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    name: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def several(self) -> bool:
        """Whether an image can show several classes."""
        return self.labels.ndim == 2

    def taken(self, rows: NDArray[np.int64]) -> LabelledFeatures:
        """The given rows, in the given order."""
        return LabelledFeatures(self.features[rows], self.labels[rows], self.name)


def check(data: LabelledFeatures, classes: int, what: str, *, dimensions: int | None = None) -> None:
    """Refuse what no protocol can be run on.

    Args:
        data: to be checked.
        classes: how many there are.
        what: the data's role, for messages.
        dimensions: that the features must have.

    Raises:
        EvaluationError: there are no images, or shapes, types or labels do not fit.
        ModelOutputError: a feature is not finite, or larger than float32 can say.
    """
    features, labels = data.features, data.labels
    if features.ndim != 2 or labels.ndim not in (1, 2) or len(features) != len(labels):
        raise EvaluationError(
            f"The {what} has features of shape {list(features.shape)} and labels of shape {list(labels.shape)}.",
            hint=_HINT,
        )
    if not np.issubdtype(labels.dtype, np.integer) or not np.issubdtype(features.dtype, np.floating):
        raise EvaluationError(f"The {what} has {features.dtype} features and {labels.dtype} labels.", hint=_HINT)
    if not len(labels) or not features.shape[1]:
        raise EvaluationError(f"The {what} is empty.", hint=_HINT)
    if dimensions is not None and features.shape[1] != dimensions:
        raise EvaluationError(
            f"The {what} has features of {features.shape[1]} dimensions instead of {dimensions}.", hint=_HINT
        )
    _check_labels(data, classes, what)
    for start in range(0, len(features), _CHECKED_ROWS):
        finite = (np.abs(features[start : start + _CHECKED_ROWS]) <= _LARGEST).all(axis=1)
        if not finite.all():
            position = start + int(np.argmin(finite))
            raise ModelOutputError(
                f"The model yields a feature that is not finite (image {position} of the {what}).",
                hint="Training diverged (NaN or infinity): check the data and train again.",
            )


def _check_labels(data: LabelledFeatures, classes: int, what: str) -> None:
    lowest, highest = int(data.labels.min()), int(data.labels.max())
    if data.several:
        if data.labels.shape[1] != classes or lowest < 0 or highest > 1:
            raise EvaluationError(
                f"The {what} says of {data.labels.shape[1]} classes instead of {classes} whether its images show them, "
                f"by numbers from {lowest} to {highest}.",
                hint=_HINT,
            )
    elif lowest < 0 or highest >= classes:
        wrong = lowest if lowest < 0 else highest
        raise EvaluationError(f"The {what} has an image of class {wrong}, which is not one of {classes}.", hint=_HINT)


def unit_rows(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows [N, D] divided by their lengths, in float32; a row of zeros stays one."""
    rows = np.asarray(features, dtype=np.float32)
    # Squares of large float32 numbers are beyond float32.
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, None]
    lengths = np.maximum(lengths, _SMALLEST_LENGTH).astype(np.float32)
    units: NDArray[np.float32] = rows / lengths
    return units
