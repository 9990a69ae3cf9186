"""Frechet distance between the Gaussians that two sets of features would have (Heusel et al. 2017: FID).

The feature space is the caller's choice: GenBench takes normalised CLIP features, FID the pool layer of Inception.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, svdvals

from competition.errors import EvaluationError
from competition.evaluation.dataset_metrics.features import Features, Floats, pair

MAX_FACTOR_ELEMENTS = 1 << 27
"""Of a covariance's factor: 1 GiB, eleven thousand dimensions."""

_WAITING_ELEMENTS = 1 << 26


class Normaliser(StrEnum):
    """What sums of squares are divided by to become covariances."""

    OWN = "own"
    """Each set's by its own number of rows less one: unbiased."""

    GENBENCH = "genbench"
    """Both sets' by the first one's number less one, as GenBench does; asymmetric, and it may be negative."""


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Mean and spread of a set.

    Args:
        mean: float64 (dimensions,).
        factor: upper trapezoidal R, float64 (min(rows, dimensions), dimensions), with R'R the sum of the outer products
            of the centred rows.
        rows: how many it was made of.
    """

    mean: Floats
    factor: Floats
    rows: int


@dataclass(frozen=True, slots=True)
class FrechetDistance:
    """The distance and its parts.

    Args:
        value: squared distance of the means, plus ``spread``; at least 0 with each set's own normaliser.
        means: squared Euclidean distance of the means.
        spread: tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the covariances.
        singular: a set has no more rows than dimensions: its covariance is singular, and the value biased upwards.
    """

    value: float
    means: float
    spread: float
    singular: bool


def gaussian(features: NDArray[Any] | Features, name: str = "The set") -> Gaussian:
    """Mean and spread, of rows that are read twice, in blocks.

    The factor is that of QR decompositions of block after block, so that no outer product is formed: rounding enters
    in proportion to the features, not to their squares, and the root of a singular covariance stays exact.

    Raises:
        EvaluationError: fewer than two rows, or too many dimensions.
        ModelOutputError: a feature that is not finite.
    """
    checked = Features.of(features, name, least=2)
    if min(checked.rows, checked.dimensions) * checked.dimensions > MAX_FACTOR_ELEMENTS:
        raise EvaluationError(
            f"{checked.name} has {checked.dimensions:,} dimensions: its covariance does not fit into memory.",
            hint=f"Take features of at most {math.isqrt(MAX_FACTOR_ELEMENTS):,} dimensions.",
        )
    total = np.zeros(checked.dimensions)
    for _, block in checked.blocks():
        total += block.sum(axis=0)
    mean = total / checked.rows
    factor, waiting, held = np.zeros((0, checked.dimensions)), list[Floats](), 0
    for _, block in checked.blocks():
        waiting.append(block - mean)
        held += len(block)
        if held >= min(4 * checked.dimensions, _WAITING_ELEMENTS // checked.dimensions):
            factor, waiting, held = _triangular([factor, *waiting]), [], 0
    return Gaussian(mean, _triangular([factor, *waiting]) if waiting else factor, checked.rows)


def _triangular(parts: list[Floats]) -> Floats:
    stacked = np.concatenate(parts)
    (factor,) = qr(stacked, mode="r", overwrite_a=True, check_finite=False)
    kept: Floats = factor[: stacked.shape[1]]
    return kept


def distance(first: Gaussian, second: Gaussian, normaliser: Normaliser = Normaliser.OWN) -> FrechetDistance:
    """Of two sets whose Gaussians are known: a reference's can be kept.

    tr (S1 S2)^(1/2) is the sum of the singular values of R1 R2', divided by the roots of both normalisers: the
    product's eigenvalues are their squares.

    Raises:
        EvaluationError: dimensions differ.
    """
    if first.mean.shape != second.mean.shape:
        raise EvaluationError(
            f"Gaussians of {len(first.mean):,} and {len(second.mean):,} dimensions cannot be compared.",
            hint="Extract both sets of features with the same model.",
        )
    by_first = first.rows - 1
    by_second = by_first if normaliser is Normaliser.GENBENCH else second.rows - 1
    root = float(svdvals(first.factor @ second.factor.T, overwrite_a=True, check_finite=False).sum())
    spread = (
        float((first.factor**2).sum()) / by_first
        + float((second.factor**2).sum()) / by_second
        - 2 * root / math.sqrt(by_first * by_second)
    )
    if normaliser is Normaliser.OWN:
        spread = max(0.0, spread)
    difference = first.mean - second.mean
    means = float(difference @ difference)
    singular = min(first.rows, second.rows) <= len(first.mean)
    return FrechetDistance(means + spread, means, spread, singular)


def frechet_distance(
    first: NDArray[Any] | Features, second: NDArray[Any] | Features, normaliser: Normaliser = Normaliser.OWN
) -> FrechetDistance:
    """Of two sets of features, (rows, dimensions) each.

    Raises:
        EvaluationError: fewer than two rows in one, or other dimensions.
        ModelOutputError: a feature that is not finite.
    """
    one, other = pair(first, second, least=2)
    return distance(gaussian(one), gaussian(other), normaliser)
