"""The k nearest rows of every query, exactly, from blocks of scores: what every exact search here comes down to.

Of each block of scores only those below the best k so far are looked at, so that next to computing the scores there is
one comparison for each. Scores may be off by a known margin: all that could be among the k are kept until the end, when
their exact distances decide. Ties go to the row with the least key. So the answer depends neither on how queries and
rows are cut into blocks, nor on the machine's matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Distances = NDArray[np.float64]
Exact = Callable[[Rows, Rows, NDArray[Any]], NDArray[Any]]
"""From queries (their numbers in the block), rows and scores of pairs to the distances."""

QUERY_ROWS = 1 << 10
"""Queries that are worth comparing at a time."""

_ROUNDS = 2
"""Candidates are sorted out when there are so many times k of them for each query."""

_FIRST_COLUMNS = 1 << 10
_FIRST_TIMES = 32
"""So many of a block's scores, or so many times k, give a first limit."""

_MOST_TIES = 16
"""So many times k candidates within the margins are compared exactly at once."""


class Metric(Protocol):
    """Distances between queries and references, each known by its position."""

    queries: int
    references: int
    reference_rows: int
    """References that are worth comparing at a time."""

    def scores(self, first: slice, second: slice) -> tuple[NDArray[Any], Distances]:
        """Scores of queries with references (queries, references), and for each query how far a score may be off.

        For one query, scores are in the order of its distances but for those that differ by twice that.
        """
        ...

    def exact(self, queries: Rows, references: Rows, scores: NDArray[Any]) -> Distances:
        """The distances of pairs whose scores are given."""
        ...


@dataclass(frozen=True, slots=True)
class Pairs:
    """Queries and their nearest rows; all arrays have shape (pairs,).

    Args:
        queries: int64, ascending; the rows of one query from near to far.
        rows: int64.
        distances: float64, or of the scores' type where these are exact.
    """

    queries: Rows
    rows: Rows
    distances: NDArray[Any]

    def table(self, queries: int, neighbours: int) -> tuple[Rows, NDArray[Any]]:
        """Rows and distances of shape (queries, neighbours); -1 and infinity where there are fewer."""
        rows = np.full((queries, neighbours), -1, dtype=np.int64)
        distances = np.full((queries, neighbours), np.inf, dtype=self.distances.dtype)
        places = _places_in_runs(self.queries)
        rows[self.queries, places] = self.rows
        distances[self.queries, places] = self.distances
        return rows, distances


def nearest(metric: Metric, neighbours: int, rows: slice | None = None, keys: Rows | None = None) -> Pairs:
    """The nearest references of queries, or all references where there are fewer.

    Args:
        metric: knows both.
        neighbours: how many, at least 1.
        rows: neighbouring queries, numbered from 0 in the answer; all when absent.
        keys: see ``Nearest``.
    """
    wanted = slice(0, metric.queries) if rows is None else rows
    found = []
    for start in range(wanted.start, wanted.stop, QUERY_ROWS):
        pairs = _nearest_of_block(metric, neighbours, slice(start, min(start + QUERY_ROWS, wanted.stop)), keys)
        found.append(Pairs(pairs.queries + (start - wanted.start), pairs.rows, pairs.distances))
    if not found:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return Pairs(
        np.concatenate([pairs.queries for pairs in found]),
        np.concatenate([pairs.rows for pairs in found]),
        np.concatenate([pairs.distances for pairs in found]),
    )


def _nearest_of_block(metric: Metric, neighbours: int, block: slice, keys: Rows | None) -> Pairs:
    def exact(queries: Rows, rows: Rows, scores: NDArray[Any]) -> Distances:
        return metric.exact(queries + block.start, rows, scores)

    best = Nearest(block.stop - block.start, neighbours, exact, keys)
    for start in range(0, metric.references, metric.reference_rows):
        references = slice(start, min(start + metric.reference_rows, metric.references))
        scores, margins = metric.scores(block, references)
        best.add(scores, np.arange(references.start, references.stop), margins)
    return best.pairs()


class Nearest:
    """The nearest rows of a block of queries, while blocks of rows are passed over.

    What is kept are candidates, flat arrays of query, row and score, and for each query what its k-th distance is at
    most, in terms of scores. That is some multiple of k for each query, and for a moment one block of scores.

    Args:
        queries: of the block, numbered from 0.
        neighbours: k, at least 1.
        exact: the distances that decide; the scores themselves when absent.
        keys: int64, one for every row: ties go to the least, and of rows with one key the nearest counts. A row's
            number is its key when absent.
    """

    def __init__(self, queries: int, neighbours: int, exact: Exact | None = None, keys: Rows | None = None) -> None:
        self._queries, self._neighbours = queries, neighbours
        self._exact, self._keys = exact, keys
        self._repeats = keys is not None and len(np.unique(keys)) < len(keys)
        self._bounds = np.full(queries, np.inf)
        self._margins = np.zeros(queries)
        self._parts: list[tuple[Rows, Rows, NDArray[Any]]] = []
        self._pending = 0

    def add(self, scores: NDArray[Any], rows: Rows, margins: Distances | float = 0.0) -> None:
        """Take the scores of some rows.

        Args:
            scores: (queries, columns), floats, smaller is nearer; read only now.
            rows: int64, the rows' numbers: (columns,), or (queries, columns) where each query has rows of its own.
            margins: (queries,), how far a score of this block may be off.
        """
        self._margins = np.maximum(self._margins, margins)
        if np.isinf(self._bounds).any():
            self._bound_at_first(scores, rows)
        limits = (self._bounds + self._margins).astype(scores.dtype)
        limits = np.where(
            limits < self._bounds + self._margins, np.nextafter(limits, limits.dtype.type(np.inf)), limits
        )
        hits = np.flatnonzero(scores <= limits[:, None])
        queries, columns = np.divmod(hits, scores.shape[1])
        numbers = rows[columns] if rows.ndim == 1 else rows.reshape(-1)[hits]
        self._parts.append((queries, numbers, scores.reshape(-1)[hits]))
        self._pending += len(hits)
        if self._pending > _ROUNDS * self._neighbours * self._queries:
            self._sort_out()

    def pairs(self) -> Pairs:
        """The nearest of all that was added."""
        if not self._parts:
            return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        if self._exact is not None:
            self._sort_out()
        queries, rows, scores = self._joined()
        distances = self._distances(queries, rows, scores)
        order = self._first_k(queries, rows, distances)
        return Pairs(queries[order], rows[order], distances[order])

    def _bound_at_first(self, scores: NDArray[Any], rows: Rows) -> None:
        """A bound from some of the scores, those of different keys."""
        count = max(_FIRST_TIMES * self._neighbours, _FIRST_COLUMNS)
        some = scores[:, :count]
        if self._keys is not None and self._repeats:
            some = scores[:, np.unique(self._keys[rows], return_index=True)[1][:count]]
        if some.shape[1] >= self._neighbours:
            kth = np.partition(some, self._neighbours - 1, axis=1)[:, self._neighbours - 1]
            self._bounds = np.minimum(self._bounds, kth + self._margins)

    def _sort_out(self) -> None:
        """Leave the candidates that can still be among the k; of very many ties within the margins, the k."""
        queries, rows, scores = self._joined()
        best = self._first_k(queries, rows, scores)
        counts = np.bincount(queries[best], minlength=self._queries)
        full = counts == self._neighbours
        kth = scores[best[np.cumsum(counts)[full] - 1]]
        self._bounds[full] = np.minimum(self._bounds[full], kth + self._margins[full])
        stay = np.flatnonzero(scores <= (self._bounds + self._margins)[queries])
        if len(stay) > _MOST_TIES * self._neighbours * self._queries:
            queries, rows, scores = queries[stay], rows[stay], scores[stay]
            stay = self._first_k(queries, rows, self._distances(queries, rows, scores))
        self._parts, self._pending = [(queries[stay], rows[stay], scores[stay])], len(stay)

    def _joined(self) -> tuple[Rows, Rows, NDArray[Any]]:
        queries, rows, scores = zip(*self._parts, strict=True)
        return np.concatenate(queries), np.concatenate(rows), np.concatenate(scores)

    def _distances(self, queries: Rows, rows: Rows, scores: NDArray[Any]) -> NDArray[Any]:
        return scores if self._exact is None else self._exact(queries, rows, scores)

    def _first_k(self, queries: Rows, rows: Rows, values: NDArray[Any]) -> Rows:
        """Which candidates have the k least values of a query, each key once: query by query, the least first."""
        keys = rows if self._keys is None else self._keys[rows]
        if not self._repeats:
            order = np.lexsort((keys, values, queries))
        else:
            order = np.lexsort((values, keys, queries))
            of_query, of_key = queries[order], keys[order]
            first = np.ones(len(order), dtype=bool)
            first[1:] = (of_query[1:] != of_query[:-1]) | (of_key[1:] != of_key[:-1])
            order = order[first]
            order = order[np.lexsort((keys[order], values[order], queries[order]))]
        found: Rows = order[_places_in_runs(queries[order]) < self._neighbours]
        return found


class Products:
    """Inner products in float32, each time in the memory of the last: fresh memory would cost as much as a pass."""

    def __init__(self) -> None:
        self._memory = np.empty(0, dtype=np.float32)

    def of(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of rows with rows, shape (rows of the first, rows of the second); the next call overwrites them."""
        size = len(first) * len(second)
        if self._memory.size < size:
            self._memory = np.empty(size, dtype=np.float32)
        return np.matmul(first, second.T, out=self._memory[:size].reshape(len(first), len(second)))


def _places_in_runs(values: Rows) -> Rows:
    """0, 1, 2, ... within each run of equal numbers of a sorted array."""
    starts = np.searchsorted(values, values, side="left")
    places: Rows = np.arange(len(values)) - starts
    return places
