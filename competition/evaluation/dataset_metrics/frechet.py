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
from scipy.linalg import eigh, svdvals

from competition.errors import EvaluationError
from competition.evaluation.dataset_metrics.features import Features, Floats, pair

MAX_FACTOR_ELEMENTS = 1 << 27
"""Of a covariance's factor: 1 GiB, eleven thousand dimensions."""


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
        factor: F, float64 (its rank, or more, dimensions), with F'F the sum of the outer products of the centred rows.
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


def gaussian(features: NDArray[Any] | Features, name: str = "the set") -> Gaussian:
    """Mean and spread, of rows that are read twice, in blocks.

    Rows that are no more than their dimensions are, centred, themselves the factor: nothing is squared, and the root of
    the singular covariance is exact. Of more rows it is that of the eigendecomposition of their sum of squares;
    eigenvalues within rounding of zero are zero.

    Raises:
        EvaluationError: fewer than two rows, or too many dimensions.
        ModelOutputError: a feature that is not finite.
    """
    checked = Features.of(features, name, least=2)
    if min(checked.rows, checked.dimensions) * checked.dimensions > MAX_FACTOR_ELEMENTS:
        raise EvaluationError(
            f"The covariance of {checked.name} does not fit into memory: it has {checked.dimensions:,} dimensions.",
            hint=f"Take features of at most {math.isqrt(MAX_FACTOR_ELEMENTS):,} dimensions.",
        )
    total = np.zeros(checked.dimensions)
    for _, block in checked.blocks():
        total += block.sum(axis=0)
    mean = total / checked.rows
    if checked.rows <= checked.dimensions:
        return Gaussian(mean, np.concatenate([block - mean for _, block in checked.blocks()]), checked.rows)
    squares = np.zeros((checked.dimensions, checked.dimensions))
    for _, block in checked.blocks():
        centred = block - mean
        squares += centred.T @ centred
    return Gaussian(mean, _root(squares), checked.rows)


def _root(squares: Floats) -> Floats:
    """F with F'F = ``squares``, one row for each eigenvalue that is not zero."""
    values, vectors = eigh(squares, overwrite_a=True, check_finite=False)
    kept = values > len(values) * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    factor: Floats = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    return factor


def distance(first: Gaussian, second: Gaussian, normaliser: Normaliser = Normaliser.OWN) -> FrechetDistance:
    """Of two sets whose Gaussians are known: a reference's can be kept.

    tr (S1 S2)^(1/2) is the sum of the singular values of F1 F2', divided by the roots of both normalisers: the
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
    root = _nuclear_norm(first.factor @ second.factor.T)
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


def _nuclear_norm(matrix: Floats) -> float:
    return float(svdvals(matrix, overwrite_a=True, check_finite=False).sum()) if matrix.size else 0.0


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
