"""The k nearest references of every query, exactly, in one pass of blocked matrix products.

Of each block of scores only those below the best k so far are looked at, so that next to the product itself there is
one comparison a score. Scores may be off by a known margin: all that could be among the k are kept until the end, when
their exact distances decide. Ties go to the reference that comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.errors import UsageError
from participant_kit.dedup.groups import Rows
from participant_kit.dedup.metrics import Distances, Metric

QUERY_ROWS = 1 << 10

_ROUNDS = 2
"""Candidates are sorted out when there are so many times k of them for each query."""

_FIRST_COLUMNS = 1 << 10
"""So many of the first scores give a first limit."""

_MOST_TIES = 16
"""So many times k candidates within the margins are compared exactly at once."""


def check_neighbours(neighbours: int, references: int) -> None:
    """Refuse a number of neighbours that there are not.

    Raises:
        UsageError: below 1, or more than references.
    """
    if neighbours < 1:
        raise UsageError(f"--neighbours {neighbours} is below 1.")
    if neighbours > references:
        raise UsageError(
            f"--neighbours {neighbours} is more than the {references:,} references.", hint="Ask for fewer."
        )


def nearest(
    metric: Metric, neighbours: int, rows: slice | None = None, told: Callable[[int], None] = lambda _: None
) -> tuple[Rows, Distances]:
    """The nearest references of queries.

    Args:
        metric: knows both.
        neighbours: how many, from 1 to the number of references.
        rows: neighbouring queries, of which a block's scores fit in memory; all, block by block, when absent.
        told: called with the number of queries that are done.

    Returns:
        Positions int64 and distances float64 of shape (queries, neighbours), the nearest first.

    Raises:
        UsageError: ``neighbours`` is out of range.
    """
    check_neighbours(neighbours, metric.references)
    wanted = slice(0, metric.queries) if rows is None else rows
    found = []
    for start in range(wanted.start, wanted.stop, QUERY_ROWS):
        block = slice(start, min(start + QUERY_ROWS, wanted.stop))
        found.append(_nearest_of_block(metric, neighbours, block))
        told(block.stop)
    return np.concatenate([one for one, _ in found]), np.concatenate([other for _, other in found])


def _nearest_of_block(metric: Metric, neighbours: int, block: slice) -> tuple[Rows, Distances]:
    race = _Race(metric, neighbours, block)
    for start in range(0, metric.references, metric.reference_rows):
        references = slice(start, min(start + metric.reference_rows, metric.references))
        race.add(*metric.scores(block, references), start)
    return race.finish()


class _Race:
    """Candidates of a block of queries: flat arrays of query, reference and score, and the limit to beat."""

    def __init__(self, metric: Metric, neighbours: int, block: slice) -> None:
        self._metric, self._neighbours, self._start = metric, neighbours, block.start
        self._queries = block.stop - block.start
        self._limits = np.full(self._queries, np.inf)
        self._margins = np.zeros(self._queries)
        self._parts: list[tuple[Rows, Rows, NDArray[Any]]] = []
        self._pending = 0

    def add(self, scores: NDArray[Any], margins: Distances, start: int) -> None:
        """Take the scores of references from position ``start`` on."""
        self._margins = np.maximum(self._margins, margins)
        if not self._parts and scores.shape[1] >= self._neighbours:
            some = scores[:, : max(self._neighbours, _FIRST_COLUMNS)]
            kth = np.partition(some, self._neighbours - 1, axis=1)[:, self._neighbours - 1]
            self._limits = kth + 2 * self._margins
        limits = self._limits.astype(scores.dtype)
        limits = np.where(limits < self._limits, np.nextafter(limits, np.inf, dtype=limits.dtype), limits)
        hits = np.flatnonzero(scores <= limits[:, None])
        rows, columns = np.divmod(hits, scores.shape[1])
        self._parts.append((rows, columns + start, scores.reshape(-1)[hits]))
        self._pending += len(hits)
        if self._pending > _ROUNDS * self._neighbours * self._queries:
            self._sort_out()

    def _sort_out(self) -> None:
        """Leave the candidates that can still be among the k; of very many ties within the margins, the k."""
        rows, references, scores = self._together()
        order = np.lexsort((references, scores, rows))
        rows, references, scores = rows[order], references[order], scores[order]
        firsts = np.searchsorted(rows, np.arange(self._queries))
        counts = np.diff(firsts, append=len(rows))
        full = counts >= self._neighbours
        kth = scores[firsts[full] + self._neighbours - 1].astype(np.float64)
        self._limits[full] = np.minimum(self._limits[full], kth + 2 * self._margins[full])
        stays = scores <= self._limits[rows]
        rows, references, scores = rows[stays], references[stays], scores[stays]
        if len(rows) > _MOST_TIES * self._neighbours * self._queries:
            order, _ = self._exactly(rows, references, scores)
            order = order[_places_in_runs(rows[order]) < self._neighbours]
            rows, references, scores = rows[order], references[order], scores[order]
        self._parts, self._pending = [(rows, references, scores)], len(rows)

    def _together(self) -> tuple[Rows, Rows, NDArray[Any]]:
        one, other, scores = zip(*self._parts, strict=True)
        return np.concatenate(one), np.concatenate(other), np.concatenate(scores)

    def _exactly(self, rows: Rows, references: Rows, scores: NDArray[Any]) -> tuple[Rows, Distances]:
        """The order of candidates query by query, the nearest first, and the distance of each (in the given order)."""
        distances = self._metric.exact(rows + self._start, references, scores)
        return np.lexsort((references, distances, rows)), distances

    def finish(self) -> tuple[Rows, Distances]:
        """Positions and distances of the k nearest."""
        self._sort_out()
        rows, references, scores = self._together()
        order, distances = self._exactly(rows, references, scores)
        order = order[_places_in_runs(rows[order]) < self._neighbours]
        shape = (self._queries, self._neighbours)
        return references[order].reshape(shape), distances[order].reshape(shape)


def _places_in_runs(rows: Rows) -> Rows:
    """0, 1, 2, ... within each run of equal numbers of a sorted array."""
    starts = np.searchsorted(rows, rows, side="left")
    places: Rows = np.arange(len(rows)) - starts
    return places
