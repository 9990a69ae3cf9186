"""Metrics as pure functions of arrays. Ties are broken by position, so every result is reproducible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from competition.errors import ModelOutputError

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


def ranks(scores: Floats, targets: Integers) -> Integers:
    """Rank [N] (0 = best) of column ``targets[i]`` in row i of ``scores`` [N, C]; of equal scores the first leads.

    Raises:
        ModelOutputError: a score is not finite (nothing compares with NaN, so it would pass for the best).
    """
    _require_finite(scores)
    chosen = scores[np.arange(len(scores)), targets][:, None]
    before = np.arange(scores.shape[1])[None, :] < targets[:, None]
    ahead = (scores > chosen) | ((scores == chosen) & before)
    counts: Integers = np.count_nonzero(ahead, axis=1).astype(np.int64)
    return counts


def per_class(correct: NDArray[np.float64], labels: Integers) -> list[NDArray[np.float64]]:
    """The outcomes of each class that occurs in ``labels``, in order of the class."""
    return [correct[labels == label] for label in np.unique(labels)]


def mean_of_means(components: Sequence[NDArray[np.float64]]) -> float:
    """Mean over components of each component's mean: a share of 1, which rounding must not exceed."""
    return min(1.0, float(np.mean([component.mean() for component in components])))


def _require_finite(scores: Floats) -> None:
    if not np.isfinite(scores).all():
        raise ModelOutputError(
            "The model yields scores that are not finite.",
            hint="Training diverged (NaN, infinity or all zeros): check the data and train again.",
        )
