"""Precision, recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) of a set beside a reference.

A set is taken to be where its rows are: around each row is a ball that reaches to its k-th nearest other row. A row on
the edge of a ball is not inside, as in Naeem et al.'s code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation.dataset_metrics.features import Features, Floats, pair

NEIGHBOURS = 5
EDGE = 1e-12
"""Of the largest squared length: squared distances nearer to a ball's edge than that are on it."""


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """How the set in question lies to the reference.

    Args:
        precision: share of its rows that are in a ball of the reference.
        recall: share of the reference's rows that are in one of its balls.
        density: balls of the reference that one of its rows is in on average, divided by k; above 1 where crowded.
        coverage: share of the reference's balls with one of its rows inside.
    """

    precision: float
    recall: float
    density: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Memberships:
    """What ``Neighbourhoods`` are the means of, row by row.

    Args:
        precise: bool (other rows,), in a ball of the reference.
        recalled: bool (reference rows,), in a ball of the others.
        balls: int64 (other rows,), balls of the reference around it; their share of k is its density.
        covered: bool (reference rows,), another row is in its ball.
    """

    precise: NDArray[np.bool_]
    recalled: NDArray[np.bool_]
    balls: NDArray[np.int64]
    covered: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Centred:
    """Rows relative to a point between both sets, where subtracting squares loses least."""

    features: Features
    centre: Floats

    def blocks(self) -> Iterator[tuple[int, Floats]]:
        for start, block in self.features.blocks():
            yield start, block - self.centre

    def largest_square(self) -> float:
        return max(float(np.einsum("ij,ij->i", block, block).max()) for _, block in self.blocks())


def neighbourhoods(
    reference: NDArray[Any] | Features, others: NDArray[Any] | Features, neighbours: int = NEIGHBOURS
) -> Neighbourhoods:
    """All four of (rows, dimensions) each; exchanging the sets exchanges precision and recall.

    Arguments and errors are those of ``memberships``.
    """
    found = memberships(reference, others, neighbours)
    return Neighbourhoods(
        float(found.precise.mean()),
        float(found.recalled.mean()),
        int(found.balls.sum()) / (neighbours * len(found.balls)),
        float(found.covered.mean()),
    )


def memberships(
    reference: NDArray[Any] | Features, others: NDArray[Any] | Features, neighbours: int = NEIGHBOURS
) -> Memberships:
    """Which rows are in which set's balls.

    Args:
        reference: for instance real images.
        others: in question, for instance generated ones.
        neighbours: k; Naeem et al. take 5, Kynkaanniemi et al. 3.

    Raises:
        EvaluationError: no more than k rows in a set, k below 1, or other dimensions.
        ModelOutputError: a feature that is not finite.
    """
    if neighbours < 1:
        raise EvaluationError(f"There is no nearest row number {neighbours}.", hint="Count neighbours from 1.")
    one, other = pair(reference, others, least=neighbours + 1)
    centre = (_mean(one) + _mean(other)) / 2
    first, second = _Centred(one, centre), _Centred(other, centre)
    edge = EDGE * max(first.largest_square(), second.largest_square())
    reach_first, reach_second = _reach(first, neighbours) - edge, _reach(second, neighbours) - edge
    precise, balls = np.zeros(other.rows, dtype=np.bool_), np.zeros(other.rows, dtype=np.int64)
    recalled, covered = np.zeros(one.rows, dtype=np.bool_), np.zeros(one.rows, dtype=np.bool_)
    for start, block in second.blocks():
        mine = slice(start, start + len(block))
        for at, beside in first.blocks():
            theirs = slice(at, at + len(beside))
            squares = _squared_distances(block, beside)
            inside = squares < reach_first[theirs]
            balls[mine] += np.count_nonzero(inside, axis=1)
            precise[mine] |= inside.any(axis=1)
            covered[theirs] |= inside.any(axis=0)
            recalled[theirs] |= (squares < reach_second[mine, None]).any(axis=0)
    return Memberships(precise, recalled, balls, covered)


def _mean(features: Features) -> Floats:
    total = np.zeros(features.dimensions)
    for _, block in features.blocks():
        total += block.sum(axis=0)
    return total / features.rows


def _reach(rows: _Centred, neighbours: int) -> Floats:
    """Squared distance (rows,) of each row to its k-th nearest other row."""
    reach = np.empty(rows.features.rows)
    for start, block in rows.blocks():
        least = np.zeros((len(block), 0))
        for at, beside in rows.blocks():
            squares = _squared_distances(block, beside)
            if at == start:
                np.fill_diagonal(squares, np.inf)
            if squares.shape[1] > neighbours:
                squares = np.partition(squares, neighbours - 1, axis=1)[:, :neighbours]
            least = np.concatenate([least, squares], axis=1)
            least = np.sort(least, axis=1)[:, :neighbours]
        reach[start : start + len(block)] = least[:, -1]
    return reach


def _squared_distances(left: Floats, right: Floats) -> Floats:
    squares = left @ right.T
    squares *= -2
    squares += np.einsum("ij,ij->i", left, left)[:, None]
    squares += np.einsum("ij,ij->i", right, right)[None, :]
    return squares
