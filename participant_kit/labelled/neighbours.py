"""Nearest neighbours of many queries among a pool's features, by inner product: file by file, exactly.

Products are computed in float32 to find which rows may be among the nearest; those few are computed again in float64,
one by one in a fixed order, and ranked by that and by uid (see ``competition.data.nearest``). So the answer does not
depend on the order of files either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.nearest import Distances, Products, Rows, nearest
from competition.data.uids import UID_DTYPE, UidArray
from competition.data.workers import one_thread_a_worker

_EXACT_ROWS = 1 << 12


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Pairs of a query and a row of the pool; all arrays have shape (pairs,).

    Args:
        queries: int32, ascending; the rows of one query from near to far.
        uids: of the rows.
        scores: float64 inner products.
    """

    queries: NDArray[np.int32]
    uids: UidArray
    scores: NDArray[np.float64]

    @classmethod
    def none(cls) -> Neighbours:
        """No pair."""
        return cls(np.zeros(0, np.int32), np.zeros(0, UID_DTYPE), np.zeros(0))

    def nearest(self, count: int) -> Neighbours:
        """Of each query the ``count`` nearest samples, ties by uid; the rows of one uid count once, the nearest one."""
        order = np.lexsort((-self.scores, self.uids["f1"], self.uids["f0"], self.queries))
        queries, uids = self.queries[order], self.uids[order]
        first = np.ones(len(order), dtype=bool)
        first[1:] = (queries[1:] != queries[:-1]) | (uids[1:] != uids[:-1])
        order = order[first]
        order = order[np.lexsort((self.uids["f1"][order], self.uids["f0"][order], -self.scores[order], queries[first]))]
        queries = self.queries[order]
        rank = np.arange(len(order)) - np.searchsorted(queries, queries, side="left")
        kept = order[rank < count]
        return Neighbours(self.queries[kept], self.uids[kept], self.scores[kept])

    @classmethod
    def joined(cls, first: Neighbours, second: Neighbours) -> Neighbours:
        """The pairs of both."""
        return cls(
            np.concatenate([first.queries, second.queries]),
            np.concatenate([first.uids, second.uids]),
            np.concatenate([first.scores, second.scores]),
        )


def nearest_rows(queries: NDArray[np.float32], features: NDArray[Any], uids: UidArray, count: int) -> Neighbours:
    """The ``count`` nearest samples of every query, by inner product.

    Args:
        queries: shape (queries, dimensions), finite.
        features: shape (rows, dimensions), any float type; rows that are not finite must have been left out.
        uids: shape (rows,); of rows with one uid the nearest counts.
        count: at least 1; a query has fewer neighbours where there are fewer samples.
    """
    with one_thread_a_worker():
        found = nearest(InnerProduct(queries, features), count, keys=_places(uids))
    return Neighbours(found.queries.astype(np.int32), uids[found.rows], -found.distances)


class InnerProduct:
    """Minus the inner product, as a distance: float32 scores, float64 distances of the features in float32.

    Args:
        queries: (rows, dimensions), float32, finite.
        features: as many dimensions, any float type, finite.
    """

    reference_rows = 1 << 13

    def __init__(self, queries: NDArray[np.float32], features: NDArray[Any]) -> None:
        self._queries, self._features = queries, features
        self.queries, self.references = len(queries), len(features)
        self._products = Products()

    def scores(self, first: slice, second: slice) -> tuple[NDArray[Any], Distances]:
        """The next call overwrites them."""
        queries, rows = self._queries[first], np.asarray(self._features[second], dtype=np.float32)
        longest = float(np.sqrt(np.einsum("ij,ij->i", rows, rows).max(initial=0.0)))
        lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries).astype(np.float64))
        # A float32 inner product is off by less than dimensions * eps * |query| * |row|, in whatever order it sums.
        margins = (queries.shape[1] + 4) * float(np.finfo(np.float32).eps) * longest * lengths
        return self._products.of(-queries, rows), margins

    def exact(self, queries: Rows, references: Rows, scores: NDArray[Any]) -> Distances:  # noqa: ARG002 - as all
        """One by one, in float64."""
        found = np.empty(len(queries))
        for start in range(0, len(queries), _EXACT_ROWS):
            part = slice(start, start + _EXACT_ROWS)
            rows = np.asarray(self._features[references[part]], dtype=np.float32).astype(np.float64)
            found[part] = (self._queries[queries[part]].astype(np.float64) * rows).sum(axis=1)
        return -found


def _places(uids: UidArray) -> Rows:
    """The place of every row's uid among the different uids, in their order."""
    order = np.lexsort((uids["f1"], uids["f0"]))
    ordered = uids[order]
    new = np.zeros(len(uids), dtype=np.int64)
    new[1:] = ordered[1:] != ordered[:-1]
    places = np.empty(len(uids), dtype=np.int64)
    places[order] = np.cumsum(new)
    return places
