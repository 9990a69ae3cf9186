"""Sums of a kernel over all pairs of rows, a block of pairs at a time: what both maximum mean discrepancies are of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from competition.evaluation.dataset_metrics.features import Features, Floats

Kernel = Callable[[Floats, Floats], Floats]
"""Of float64 rows (a, dimensions) and (b, dimensions): the matrix (a, b)."""


@dataclass(frozen=True, slots=True)
class PairSums:
    """Sums of k(x, y) over pairs.

    Args:
        within_first: of different rows of the first set, in both orders.
        diagonal_first: of each of its rows with itself.
        within_second: as of the first.
        diagonal_second: likewise.
        across: of a row of the first with one of the second.
        rows: of both sets.
    """

    within_first: float
    diagonal_first: float
    within_second: float
    diagonal_second: float
    across: float
    rows: tuple[int, int]

    @property
    def unbiased(self) -> float:
        """The squared discrepancy's unbiased estimate (Gretton et al. 2012, equation 3), which may be negative."""
        n, m = self.rows
        return self.within_first / (n * (n - 1)) + self.within_second / (m * (m - 1)) - 2 * self.across / (n * m)

    @property
    def biased(self) -> float:
        """Its biased estimate (equation 5), rows paired with themselves as well: the distance of the two means."""
        n, m = self.rows
        first = (self.within_first + self.diagonal_first) / n**2
        second = (self.within_second + self.diagonal_second) / m**2
        return first + second - 2 * self.across / (n * m)


def pair_sums(first: Features, second: Features, kernel: Kernel) -> PairSums:
    """All sums of two sets; memory is that of a few blocks, time that of (rows + rows) squared / 2 kernels."""
    within_first, diagonal_first = _within(first, kernel)
    within_second, diagonal_second = _within(second, kernel)
    across = 0.0
    for _, left in first.blocks():
        for _, right in second.blocks():
            across += float(kernel(left, right).sum())
    return PairSums(within_first, diagonal_first, within_second, diagonal_second, across, (first.rows, second.rows))


def _within(features: Features, kernel: Kernel) -> tuple[float, float]:
    """Of different rows and of the same; the kernel is symmetric, so that half of the blocks do."""
    different, same = 0.0, 0.0
    for start, left in features.blocks():
        for other, right in features.blocks():
            if other < start:
                continue
            values = kernel(left, right)
            if other > start:
                different += 2 * float(values.sum())
                continue
            same += float(np.trace(values))
            np.fill_diagonal(values, 0.0)
            different += float(values.sum())
    return different, same
