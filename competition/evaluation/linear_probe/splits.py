"""Which training images a probe sees: few of each class, and a validation set apart."""

from __future__ import annotations

import math
import random

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation.features import LabelledFeatures

VALIDATION_SHARE = 0.2


def few_shot_rows(labels: NDArray[np.int64], shots: int, seed: int, *, exact: bool = False) -> NDArray[np.int64]:
    """Rows of the first ``shots`` images of each class in a shuffled order, in that order.

    Where images show several classes an image is taken as long as one of them is short, and counts for all of them.

    Args:
        labels: int64 [N], or [N, C] of 0 and 1.
        shots: of each class.
        seed: of the order; Python's generator, as ELEVATER uses it.
        exact: whether a class with fewer images is an error.

    Raises:
        EvaluationError: see ``exact``.
    """
    order = list(range(len(labels)))
    random.Random(seed).shuffle(order)  # noqa: S311 - ELEVATER's samples are those of this generator
    taken: dict[int, int] = {}
    rows = []
    for row in order:
        shown = [int(labels[row])] if labels.ndim == 1 else np.flatnonzero(labels[row]).tolist()
        if any(taken.get(label, 0) < shots for label in shown):
            taken |= {label: taken.get(label, 0) + 1 for label in shown}
            rows.append(row)
    short = [label for label, count in sorted(taken.items()) if count < shots]
    if exact and short:
        raise EvaluationError(
            f"Class {short[0]} of the training set has {taken[short[0]]} images, which is fewer than {shots} shots.",
            hint="Choose fewer shots.",
        )
    return np.asarray(rows, dtype=np.int64)


def validation_split(labels: NDArray[np.int64], share: float = VALIDATION_SHARE) -> tuple[NDArray[np.int64], ...]:
    """Rows to train by and rows to validate by, both ascending: the first of each class, rounded up (ELEVATER).

    Where images show several classes, class after class gets the first images that show it and are not yet taken, until
    it has its share; an image counts for all that it shows.
    """
    validating = np.zeros(len(labels), dtype=np.bool_)
    if labels.ndim == 2:
        wanted = np.ceil(labels.sum(axis=0) * share)
        for label in range(labels.shape[1]):
            for row in np.flatnonzero(labels[:, label]):
                if wanted[label] <= 0:
                    break
                if not validating[row]:
                    validating[row] = True
                    wanted -= labels[row]
        return np.flatnonzero(~validating), np.flatnonzero(validating)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        validating[members[: math.ceil(len(members) * share)]] = True
    return np.flatnonzero(~validating), np.flatnonzero(validating)


def require_every_class(data: LabelledFeatures, classes: int, what: str) -> None:
    """Refuse data in which a class does not occur (raises ``EvaluationError``)."""
    images = data.labels.sum(axis=0) if data.several else np.bincount(data.labels, minlength=classes)
    empty = np.flatnonzero(images == 0)
    if len(empty):
        raise EvaluationError(
            f"Class {int(empty[0])} has no image in the {what} ({len(empty)} of {classes} classes have none).",
            hint="Get or build the evaluation sets again.",
        )
