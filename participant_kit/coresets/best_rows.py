"""The best rows of many columns of scores, from blocks of rows: memory for these alone, however many rows there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]
Rows = NDArray[np.int64]

Exact = Callable[[int, Rows], NDArray[np.float64]]
"""From a column and ascending rows to their scores."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best rows of every column, best first, of equal ones the lowest row first.

    Args:
        rows: int64 of shape (columns, depth).
        scores: floating, of the same shape.
    """

    rows: Rows
    scores: Scores

    @property
    def depth(self) -> int:
        """Rows of each column."""
        return int(self.rows.shape[1])


class BestRows:
    """Keeps the ``most`` best rows of each column, and few more, while blocks of ascending rows pass.

    Scores may be computed in float32, each off by at most ``slack``: who gives a slack also gives ``exact``, which
    computes scores again for the rows that may be among the best. The result is then that of exact scores, whatever
    computed the others, in whatever blocks. Without slack the given scores count.

    Args:
        columns: how many.
        most: rows to keep of each.
        slack: see above.
        exact: see above.
    """

    def __init__(self, columns: int, most: int, slack: float = 0.0, exact: Exact | None = None) -> None:
        self.least = np.full(columns, -np.inf)
        """A row with a score not above its column's cannot be among the best any more."""
        self._most = most
        self._slack = slack
        self._exact = exact
        self._parts: list[list[tuple[Scores, Rows]]] = [[] for _ in range(columns)]
        self._held = [0] * columns

    def add_block(self, scores: NDArray[np.float32], rows: Rows) -> None:
        """All scores of some rows: shapes (columns, rows) and (rows,). NaN is never kept."""
        for column, (values, least) in enumerate(zip(scores, self.least_float32(), strict=True)):
            passed = np.flatnonzero(values > least)
            self.add(column, values[passed], rows[passed])

    def least_float32(self) -> NDArray[np.float32]:
        """``least`` for comparisons in float32, never above it."""
        rounded = self.least.astype(np.float32)
        return np.where(rounded > self.least, np.nextafter(rounded, np.float32(-np.inf)), rounded)

    def add(self, column: int, scores: Scores, rows: Rows) -> None:
        """Scores of rows that are above the column's ``least``."""
        if not len(rows):
            return
        self._parts[column].append((scores, rows))
        self._held[column] += len(rows)
        if self._held[column] >= 2 * self._most:
            self._thin_out(column)

    def ranking(self) -> Ranking:
        """What is best of all that was added; fewer than ``most`` where there were fewer rows."""
        found = [self._settled(column) for column in range(len(self._parts))]
        depth = min(self._most, *(len(rows) for _, rows in found))
        return Ranking(np.stack([rows[:depth] for _, rows in found]), np.stack([scores[:depth] for scores, _ in found]))

    def _joined(self, column: int) -> tuple[Scores, Rows]:
        parts = self._parts[column]
        if not parts:
            return np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int64)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([scores for scores, _ in parts]), np.concatenate([rows for _, rows in parts])

    def _thin_out(self, column: int) -> None:
        """Forget rows that cannot be among the best; where too many are too close to tell, exact scores decide."""
        scores, rows = self._joined(column)
        last = self._last(scores)
        bound = last - 2 * self._slack
        kept = np.flatnonzero(scores >= bound)
        if self._exact is None:
            kept = _first_of_equals(scores, kept, last, self._most)
        self._hold(column, scores[kept], rows[kept], bound)
        if len(kept) > 1.5 * self._most:
            exact, settled = self._settled(column)
            order = np.argsort(settled[: self._most])
            bound = exact[self._most - 1] - 2 * self._slack
            self._hold(column, exact[: self._most][order], settled[: self._most][order], bound)

    def _hold(self, column: int, scores: Scores, rows: Rows, bound: float) -> None:
        self._parts[column] = [(scores, rows)]
        self._held[column] = len(rows)
        self.least[column] = bound

    def _last(self, scores: Scores) -> float:
        """The least of the ``most`` best."""
        place = len(scores) - self._most
        return float(np.partition(scores, place)[place])

    def _settled(self, column: int) -> tuple[Scores, Rows]:
        """The column's rows in their final order."""
        scores, rows = self._joined(column)
        if self._exact is not None and len(rows):
            if len(rows) > self._most:
                kept = np.flatnonzero(scores >= self._last(scores) - 2 * self._slack)
                rows = rows[kept]
            scores = self._exact(column, rows)
        order = np.argsort(-scores, kind="stable")
        return scores[order], rows[order]


def _first_of_equals(scores: Scores, kept: Rows, last: float, most: int) -> Rows:
    """Of the kept positions (ascending) exactly ``most``: of those that score as the last one the first."""
    above = scores[kept] > last
    equals = kept[~above][: most - int(np.count_nonzero(above))]
    return np.sort(np.concatenate([kept[above], equals]))
