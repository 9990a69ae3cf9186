"""What every protocol demands of its arrays before it computes: a wrong input is named, never averaged over."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from competition.errors import EmptySetError, EvaluationError, LabelRangeError, ModelOutputError

Integers = NDArray[np.int64]


def checked_labels(labels: ArrayLike, classes: int, what: str = "label") -> Integers:
    """Labels [N] as int64.

    Args:
        labels: whole numbers in [0, classes).
        classes: how many there are.
        what: what one of them is called in messages: a label, a region.

    Raises:
        EmptySetError: there is none.
        LabelRangeError: one is out of range, or is no whole number.
        EvaluationError: they are not a row.
    """
    found = np.asarray(labels)
    if found.ndim != 1:
        raise EvaluationError(f"Each sample has one {what}, a row of them: not an array of shape {found.shape}.")
    if not len(found):
        raise EmptySetError(f"The evaluation set holds no {what}, so there is nothing to evaluate.")
    if found.dtype.kind not in "iu":
        raise LabelRangeError(f"A {what} is a whole number, not a {found.dtype}.")
    outside = np.flatnonzero((found < 0) | (found >= classes))
    if len(outside):
        first = int(outside[0])
        raise LabelRangeError(
            f"The {what} of sample {first} is {found[first]}; there are {classes}, from 0 on.",
            hint="Get or build the evaluation sets again.",
        )
    return found.astype(np.int64)


def checked_scores(scores: ArrayLike, samples: int, classes: int | None = None) -> NDArray[np.floating]:
    """Scores [N, C] of a model, in their own precision.

    Raises:
        EvaluationError: they are not one row for each of ``samples``, or not one column for each of ``classes``.
        ModelOutputError: one is not finite; the message names the sample.
    """
    found = np.asarray(scores)
    if found.dtype.kind != "f":
        found = found.astype(np.float64)
    if found.ndim != 2 or len(found) != samples or not found.shape[1] or classes not in {None, found.shape[1]}:
        wanted = f"({samples}, {classes if classes is not None else 'classes'})"
        raise EvaluationError(f"The model's scores have the shape {found.shape} instead of {wanted}.")
    broken = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(broken):
        raise ModelOutputError(
            f"The model's scores of {len(broken)} of {samples} samples are not finite, first of sample {broken[0]}.",
            hint="Training diverged (NaN, infinity or all zeros): check the data and train again.",
        )
    return found


def checked_groups(groups: ArrayLike, samples: int, count: int | None, what: str) -> Integers:
    """Groups [N] as int64: one for each sample.

    Args:
        groups: whole numbers in [0, count).
        samples: how many there have to be.
        count: how many groups there are; None where any number that is not negative is one.
        what: what a group is called in messages, for instance region.

    Raises:
        EmptySetError: there is no sample.
        LabelRangeError: a group is out of range.
        EvaluationError: there are more or fewer than ``samples``.
    """
    found = checked_labels(groups, np.iinfo(np.int64).max if count is None else count, what)
    if len(found) != samples:
        raise EvaluationError(f"There are {len(found)} values of {what} for {samples} samples.")
    return found
