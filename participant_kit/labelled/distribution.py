"""How many samples each class shall give: distributions over classes, and whole numbers that follow them. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]


def uniform(classes: int) -> Shares:
    """All classes alike."""
    return np.full(classes, 1 / classes)


def tempered(counts: Counts, exponent: float) -> Shares:
    """Shares proportional to ``counts ** exponent``: 1 keeps the distribution, 0 makes all classes alike, and what is
    between repairs a long tail in part. An empty class has none.

    Args:
        counts: not negative, not all 0.
        exponent: finite.
    """
    logarithms = exponent * np.log(np.maximum(counts, 1))
    logarithms[counts == 0] = -np.inf
    weights = np.exp(logarithms - logarithms.max())
    shares: Shares = weights / weights.sum()
    return shares


def zipf(counts: Counts, imbalance: float) -> Shares:
    """A long tail of a given imbalance, the largest share over the smallest: a power law of the class's rank by size,
    equals in their order. An empty class has none.

    Args:
        counts: not negative, not all 0.
        imbalance: from 1.
    """
    present = np.flatnonzero(counts)
    ranked = present[np.argsort(-counts[present], kind="stable")]
    exponent = np.log(imbalance) / np.log(len(ranked)) if len(ranked) > 1 else 0.0
    weights = np.zeros(len(counts))
    weights[ranked] = np.arange(1, len(ranked) + 1) ** -exponent
    shares: Shares = weights / weights.sum()
    return shares


def apportion(shares: Shares, size: int) -> Counts:
    """Whole numbers of the sum ``size`` in these proportions, by largest remainders (Hamilton); ties go to the first.

    Args:
        shares: not negative, of the sum 1.
        size: not negative.
    """
    exact = shares * size
    numbers = np.floor(exact + 1e-9).astype(np.int64)
    remainders = np.where(shares > 0, exact - numbers, -np.inf)
    numbers[np.argsort(-np.round(remainders, 9), kind="stable")[: size - int(numbers.sum())]] += 1
    return numbers


def largest_size(shares: Shares, most: Counts) -> int:
    """The largest size of which no class's exact share is more than it can give; 0 where a wanted class is empty.

    Args:
        shares: see ``apportion``.
        most: samples that each class can give.
    """
    wanted = shares > 0
    return int(np.floor((most[wanted] / shares[wanted]).min() + 1e-9))
