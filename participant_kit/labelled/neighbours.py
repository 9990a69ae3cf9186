"""Exact nearest neighbours of many queries among a pool's features, file by file.

Products are computed in float32, block by block, to find which rows may be among the nearest; those few are computed
again in float64, one by one in a fixed order, and ranked by that and by uid. So the answer depends neither on how
queries and rows are cut into blocks, nor on the order of files, nor on the machine's matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.uids import UID_DTYPE, UidArray
from participant_kit.subsets.centroids import one_thread_a_worker

_QUERIES = 512
_ROWS = 1 << 15
_EXACT_AT_A_TIME = 1 << 14
_FEW = 2
"""So many candidates for each neighbour are computed exactly sooner than the nearest of a block are found."""


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
        found = Neighbours.none()
        for start in range(0, len(queries), _QUERIES):
            block = _of_block(queries[start : start + _QUERIES], features, uids, count)
            found = Neighbours.joined(found, Neighbours(block.queries + np.int32(start), block.uids, block.scores))
        return found


def _of_block(queries: NDArray[np.float32], features: NDArray[Any], uids: UidArray, count: int) -> Neighbours:
    found = Neighbours.none()
    lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries))
    copies = _most_copies(uids)
    for start in range(0, len(features), _ROWS):
        rows = np.asarray(features[start : start + _ROWS], dtype=np.float32)
        products = queries @ rows.T
        size = float(np.sqrt(np.einsum("ij,ij->i", rows, rows).max(initial=0.0)))
        # A float32 inner product is off by less than dimensions * eps * |query| * |row|, in whatever order it sums.
        unsure = 2 * queries.shape[1] * np.finfo(np.float32).eps * lengths * size
        least = _least_wanted(products, count * copies, found, count) - unsure
        bound = np.nextafter(least.astype(np.float32), np.float32(-np.inf))
        query, row = np.nonzero(products >= bound[:, None])
        exact = np.empty(len(query))
        for part in range(0, len(query), _EXACT_AT_A_TIME):
            cut = slice(part, part + _EXACT_AT_A_TIME)
            exact[cut] = (queries[query[cut]].astype(np.float64) * rows[row[cut]].astype(np.float64)).sum(axis=1)
        more = Neighbours(query.astype(np.int32), uids[start + row], exact)
        found = Neighbours.joined(found, more).nearest(count)
    return found


def _most_copies(uids: UidArray) -> int:
    """How many rows a uid has at most: so many more have to be looked at for as many different samples."""
    if not len(uids):
        return 1
    ordered = uids[np.lexsort((uids["f1"], uids["f0"]))]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return int(np.diff(np.append(starts, len(ordered))).max())


def _least_wanted(products: NDArray[np.float32], looked_at: int, found: Neighbours, count: int) -> NDArray[np.float64]:
    """For each query what a product must at least be to matter: beside those found before, and in this block."""
    queries, rows = products.shape
    complete = np.bincount(found.queries, minlength=queries) >= count
    changes = found.queries[1:] != found.queries[:-1]
    last = np.flatnonzero(np.append(changes, True)) if len(found.queries) else np.zeros(0, np.int64)
    before = np.full(queries, -np.inf)
    before[found.queries[last]] = found.scores[last]
    before[~complete] = -np.inf
    # Finding the nearest of a block costs as much as its products; mostly those found before leave few enough.
    few = np.count_nonzero(products >= before.astype(np.float32)[:, None]) <= _FEW * queries * looked_at
    if rows <= looked_at or few:
        return before
    least = np.partition(products, rows - looked_at, axis=1)[:, rows - looked_at].astype(np.float64)
    wanted: NDArray[np.float64] = np.maximum(least, before)
    return wanted
