"""CMMD (Jayasumana et al. 2024): maximum mean discrepancy of normalised CLIP features with a Gaussian kernel."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation.dataset_metrics.features import Features, Floats, pair
from competition.evaluation.dataset_metrics.kernel_sums import Kernel, pair_sums

SIGMA = 10.0
SCALE = 1000.0


class Estimator(StrEnum):
    """Whether a row is paired with itself."""

    BIASED = "biased"
    """As in the published code: never negative, and 0 of a set with itself."""

    UNBIASED = "unbiased"
    """Right on average however few rows there are."""


def gaussian_kernel_less_one(sigma: float) -> Kernel:
    """exp(-|x - y|² / (2 sigma²)) - 1.

    The ones cancel in the discrepancy. At sigma 10 and length 1 the kernel differs from 1 by 0.02 at most: with the
    ones, a discrepancy of 1e-9 would be lost in their rounding; without, it is not.
    """

    def kernel(left: Floats, right: Floats) -> Floats:
        squares = left @ right.T
        squares *= -2
        squares += np.einsum("ij,ij->i", left, left)[:, None]
        squares += np.einsum("ij,ij->i", right, right)[None, :]
        np.maximum(squares, 0, out=squares)
        squares *= -0.5 / sigma**2
        return np.expm1(squares, out=squares)

    return kernel


def cmmd(
    first: NDArray[Any] | Features,
    second: NDArray[Any] | Features,
    *,
    sigma: float = SIGMA,
    estimator: Estimator = Estimator.BIASED,
) -> float:
    """1000 times the squared discrepancy of the rows' directions.

    Args:
        first: (rows, dimensions), of any length but 0.
        second: likewise.
        sigma: the kernel's width.
        estimator: see there.

    Raises:
        EvaluationError: no row (fewer than two without bias), other dimensions, or a width that is not positive.
        ModelOutputError: a row that is zero or not finite.
    """
    one, other = pair(first, second, least=1 if estimator is Estimator.BIASED else 2)
    if not 0 < sigma < float("inf"):
        raise EvaluationError(f"A Gaussian kernel has no width {sigma}.", hint="Give a positive number.")
    sums = pair_sums(one.directions(), other.directions(), gaussian_kernel_less_one(sigma))
    return SCALE * (max(0.0, sums.biased) if estimator is Estimator.BIASED else sums.unbiased)
