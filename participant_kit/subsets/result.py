"""What a choice of samples comes to: uids, and a count for each reason why a row was dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.uids import UidArray


@dataclass(frozen=True, slots=True)
class SubsetResult:
    """The kept uids and, by reason, how many of the ``total`` rows were dropped.

    Kept and dropped always sum to ``total``: a row is counted under the first reason that met it. A strategy that
    draws rows more than once has ``repeats`` further copies among the uids. ``details`` (JSON) is what a strategy found
    on its way, and ``picture`` an SVG of it: both go beside the subset.
    """

    uids: UidArray
    total: int
    dropped: dict[str, int]
    repeats: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    picture: str = ""

    def __post_init__(self) -> None:
        assert len(self.uids) - self.repeats + sum(self.dropped.values()) == self.total


class Funnel:
    """Rows of metadata passing one test after another; each row that fails is counted under that test's reason."""

    def __init__(self, rows: int) -> None:
        self.total = rows
        self.rows: NDArray[np.int64] = np.arange(rows)
        """Positions of the rows that passed every test so far, ascending."""
        self.dropped: dict[str, int] = {}

    def keep(self, passed: NDArray[np.bool_], reason: str) -> None:
        """Keep the remaining rows where ``passed`` (one value for each of ``rows``); count the others."""
        self.dropped[reason] = self.dropped.get(reason, 0) + int(len(passed) - np.count_nonzero(passed))
        self.rows = self.rows[passed]

    def result(self, uids: UidArray) -> SubsetResult:
        """The uids (one for each original row) of the rows that are left, in row order."""
        return SubsetResult(uids[self.rows], self.total, self.dropped)


def sum_dropped(results: list[dict[str, int]]) -> dict[str, int]:
    """Drop counts of several parts added up, reasons in the order of their first appearance."""
    total: Counter[str] = Counter()
    for dropped in results:
        total.update(dropped)
    return dict(total)
