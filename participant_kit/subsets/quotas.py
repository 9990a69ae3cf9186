"""Dividing a number of samples among groups that have different numbers of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def even_quotas(available: Counts, total: int) -> Counts:
    """How many samples each group gives: the same number, or all that it has (water-filling).

    What then is still missing is one more of the first groups, in their order, that have it. The quotas sum to
    ``total``, or to all that is available if that is less.

    Args:
        available: int64 of shape (groups,), not negative.
        total: not negative.
    """
    if total >= available.sum():
        return available
    low, high = 0, int(available.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(available, middle).sum() <= total else (low, middle - 1)
    given: Counts = np.minimum(available, low)
    rest = np.flatnonzero(available > low)[: total - int(given.sum())]
    given[rest] += 1
    return given
