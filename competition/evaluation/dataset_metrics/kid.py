"""Kernel distance (Binkowski et al. 2018: KID): an unbiased squared maximum mean discrepancy, so also of few rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation.dataset_metrics.features import Features, Floats, pair
from competition.evaluation.dataset_metrics.kernel_sums import pair_sums


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """The distance, which is 0 on average for sets of one distribution, and then negative in half of all cases.

    Args:
        value: of all rows, or the mean over subsets.
        deviation: standard deviation over subsets; ``None`` of all rows.
    """

    value: float
    deviation: float | None


def cubic_kernel(left: Floats, right: Floats) -> Floats:
    """(x·y / dimensions + 1) cubed, KID's kernel."""
    products = left @ right.T
    products /= left.shape[1]
    products += 1
    cubes: Floats = products * products * products
    return cubes


def kernel_distance(first: NDArray[Any] | Features, second: NDArray[Any] | Features) -> KernelDistance:
    """Of all rows (rows, dimensions) of both sets; symmetric.

    Raises:
        EvaluationError: fewer than two rows in one, or other dimensions.
        ModelOutputError: a feature that is not finite.
    """
    one, other = pair(first, second, least=2)
    return KernelDistance(pair_sums(one, other, cubic_kernel).unbiased, None)


def kernel_distance_of_subsets(
    first: NDArray[Any] | Features,
    second: NDArray[Any] | Features,
    *,
    size: int = 1000,
    subsets: int = 100,
    seed: int = 0,
) -> KernelDistance:
    """The mean over pairs of random subsets, as KID is commonly reported, with its deviation.

    Args:
        first: (rows, dimensions).
        second: likewise.
        size: rows of a subset, drawn without replacement.
        subsets: how many pairs.
        seed: of the draws; those of the two sets are independent.

    Raises:
        EvaluationError: a set is smaller than a subset, a subset has fewer than two rows, or there is none; and what
            ``kernel_distance`` raises.
    """
    one, other = pair(first, second, least=2)
    if size < 2 or subsets < 1:
        raise EvaluationError(
            f"{subsets:,} subsets of {size:,} rows define no distance.", hint="Take one or more, of two rows or more."
        )
    for features in (one, other):
        if features.rows < size:
            raise EvaluationError(
                f"A subset of {size:,} rows is larger than {features.name}, which has {features.rows:,}.",
                hint="Take smaller subsets, or all rows without subsets.",
            )
    values = [
        pair_sums(_drawn(one, size, [seed, number, 0]), _drawn(other, size, [seed, number, 1]), cubic_kernel).unbiased
        for number in range(subsets)
    ]
    return KernelDistance(float(np.mean(values)), float(np.std(values)))


def _drawn(features: Features, size: int, seed: list[int]) -> Features:
    chosen = np.random.default_rng(seed).choice(features.rows, size, replace=False)
    return Features(features.take(chosen.astype(np.int64)), features.name)
