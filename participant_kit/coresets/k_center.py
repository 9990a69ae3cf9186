"""Greedy k-center: every next centre is the point farthest from those that are chosen (Gonzalez, 1985; as a coreset:
Sener and Savarese, "Active learning for convolutional neural networks: a core-set approach", 2018).

The radius, the largest distance of a point to its nearest centre, is at most twice the least that any so many centres
could have.

Vectors are rounded to whole multiples of 1/4000. Then inner products of vectors of length 1 are whole numbers below
2^24, which float32 matrix products give exactly, in whatever order they sum: distances, and with them the centres, are
the same on any machine and however the points are cut into blocks. A cosine changes by about 0.0001.

One pass over all points for every centre would read them k times. Here a round takes the farthest points into memory
and chooses among them, as long as the farthest of them is farther than all others were at the round's start, which can
only have come nearer. One pass then measures the distances to all of the round's centres. The centres are those of the
plain algorithm; only the number of passes differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Distances = NDArray[np.int32]
Lots = NDArray[np.uint64]

SCALE = 4000
"""Whole numbers that stand for 1; 4096 would leave no room for vectors that are a hundredth too long."""

CANDIDATES = 4096
"""Points in memory in a round."""

NOT_A_POINT = -1
"""The distance of what is no point, or is a centre itself."""

_FAR = np.iinfo(np.int32).max
_CENTRES_AT_A_TIME = 1024


@dataclass(frozen=True, slots=True)
class Points:
    """Rows to choose from, which may be more than memory holds.

    Args:
        lots: uint64 of shape (rows,): one draw for each row, that depends on nothing but what the row is.
        present: mask over the rows: which of them have vectors.
        take: the rounded vectors of some rows.
        measure: the ``squared_distances`` of all rows to some centres; any number where there is no vector.
    """

    lots: Lots
    present: NDArray[np.bool_]
    take: Callable[[Rows], Floats]
    measure: Callable[[Floats], Distances]


@dataclass(frozen=True, slots=True)
class Centres:
    """What was chosen.

    Args:
        rows: int64 of shape (k,), in the order of choice.
        radius: Euclidean distance, for vectors of length 1, of the farthest point to its nearest centre.
        passes: over all points.
    """

    rows: Rows
    radius: float
    passes: int


def rounded(vectors: NDArray[Any]) -> Floats:
    """Vectors of length 1 as whole numbers: float32 of the same shape."""
    scaled: Floats = np.rint(np.asarray(vectors, dtype=np.float32) * np.float32(SCALE))
    return scaled


def squared_distances(points: Floats, centres: Floats) -> Distances:
    """Of each point to its nearest centre, exactly: int32 of shape (points,).

    Args:
        points: rounded, (points, dimensions).
        centres: rounded, (centres, dimensions), at least one.
    """
    nearest = np.full(len(points), _FAR, dtype=np.int32)
    for start in range(0, len(centres), _CENTRES_AT_A_TIME):
        some = centres[start : start + _CENTRES_AT_A_TIME]
        products = (points @ some.T).astype(np.int32)
        np.minimum(nearest, (_squared_lengths(some) - 2 * products).min(axis=1), out=nearest)
    return nearest + _squared_lengths(points)


def greedy_centres(
    points: Points,
    k: int,
    *,
    chosen: Sequence[int] = (),
    keep: Callable[[Rows], None] = lambda _: None,
    candidates: int = CANDIDATES,
) -> Centres:
    """Choose ``k`` centres; the first is the point with the least lot, and so are ties decided.

    Args:
        points: what there is.
        k: from 1 to the number of points.
        chosen: rows that an earlier run had chosen first.
        keep: told after every round what is chosen, so that a killed run can go on.
        candidates: points in memory in a round.
    """
    distances = np.where(points.present, np.int32(_FAR), np.int32(NOT_A_POINT))
    new, passes = np.array(list(chosen) or [_first(points)], dtype=np.int64), 0
    centres = np.zeros(0, dtype=np.int64)
    while True:
        np.minimum(distances, points.measure(points.take(new)), out=distances)
        passes += 1
        centres = np.concatenate([centres, new])
        distances[centres] = NOT_A_POINT
        keep(centres)
        if len(centres) == k:
            break
        new = _farthest_in_turn(points, distances, k - len(centres), candidates)
    return Centres(centres, float(np.sqrt(max(0, int(distances.max()))) / SCALE), passes)


def _farthest_in_turn(points: Points, distances: Distances, most: int, candidates: int) -> Rows:
    """The next centres, at least one, as long as they are certain."""
    rows, bound = _farthest(distances, points.lots, candidates)
    vectors = points.take(rows)
    lengths = _squared_lengths(vectors)
    left, drawn = distances[rows], points.lots[rows]
    new: list[int] = []
    while len(new) < most:
        farthest = left.max()
        tied = np.flatnonzero(left == farthest)
        best = int(tied[drawn[tied].argmin()])
        if farthest == NOT_A_POINT or (-int(farthest), int(drawn[best])) >= bound:
            break
        new.append(best)
        products = (vectors @ vectors[best]).astype(np.int32)
        np.minimum(left, lengths + lengths[best] - 2 * products, out=left)
        left[best] = NOT_A_POINT
    found: Rows = rows[new]
    return found


def _farthest(distances: Distances, lots: Lots, most: int) -> tuple[Rows, tuple[float, float]]:
    """The farthest points, and what a point among them has to be less than to be the farthest of all: its negative
    distance and lot."""
    if np.count_nonzero(distances != NOT_A_POINT) <= most:
        return np.flatnonzero(distances != NOT_A_POINT), (np.inf, np.inf)
    place = len(distances) - most - 1
    bound = np.partition(distances, place)[place]
    above, equal = np.flatnonzero(distances > bound), np.flatnonzero(distances == bound)
    equal = equal[np.argsort(lots[equal], kind="stable")]
    inside = most - len(above)
    return np.concatenate([above, equal[:inside]]), (-int(bound), int(lots[equal[inside]]))


def _first(points: Points) -> int:
    """The point with the least lot; of several that share it, as copies of a sample do, the one with the least vector,
    whatever their order."""
    least = np.flatnonzero(points.present & (points.lots == points.lots[points.present].min()))
    return min(least.tolist(), key=lambda row: points.take(np.array([row])).tolist())


def _squared_lengths(vectors: Floats) -> Distances:
    lengths: Distances = np.einsum("ij,ij->i", vectors, vectors).astype(np.int32)
    return lengths
