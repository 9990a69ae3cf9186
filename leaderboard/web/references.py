"""Reference results as the standings show them: a line each, in place by value, never with a rank.

A set never changes, so its lines are made once for the columns and the axis that they are shown under.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from markupsafe import Markup

from competition.records.references import ReferenceHead, ReferenceRow, ReferenceValue
from competition.records.standings import StandingsRow
from competition.rules import Suite
from competition.rules.aggregates import aggregate_value

Rows = tuple[tuple[int, ReferenceRow], ...]


@dataclass(frozen=True)
class ReferenceBoard:
    """A set with its rows of one scale, each with its number in the file."""

    head: ReferenceHead
    rows: Rows


@dataclass(frozen=True)
class Line:
    """One line of the table: its score where there is one, and its markup."""

    score: float | None
    html: Markup


@dataclass(frozen=True)
class Placed:
    """Where lines stand: before entries by their ids, after the last ranked one, and without a score at the end."""

    before: dict[str, list[Line]] = field(default_factory=dict)
    after: list[Line] = field(default_factory=list)
    unscored: list[Line] = field(default_factory=list)

    @property
    def any(self) -> bool:
        """Whether there is a line at all."""
        return bool(self.before or self.after or self.unscored)


def score_of(row: ReferenceRow, suite: Suite) -> tuple[ReferenceValue | None, bool]:
    """The primary aggregate: as reported, or made of the reported tasks by the suite's rule (then True)."""
    reported = row.aggregates.get(suite.primary)
    if reported is not None:
        return reported, False
    made = aggregate_value(suite, suite.primary_aggregate, {task: each.value for task, each in row.tasks.items()})
    return (None, False) if made.value is None else (ReferenceValue(value=made.value), True)


def comparable(boards: Sequence[ReferenceBoard], suite: str) -> list[ReferenceBoard]:
    """The sets that are said to be comparable with the results of that suite."""
    return [board for board in boards if board.head.suite == suite]


def place(lines: Sequence[Line], ranked: Sequence[StandingsRow], *, less_is_better: bool) -> Placed:
    """Put lines in place by value among the ranked entries, which are in order; at equal values the entry is first."""
    sign = 1.0 if less_is_better else -1.0
    keys = [sign * row.score.value for row in ranked if row.score is not None]
    placed = Placed()
    scored = [(sign * line.score, line) for line in lines if line.score is not None]
    for key, line in sorted(scored, key=lambda pair: pair[0]):
        position = bisect_right(keys, key)
        if position == len(keys):
            placed.after.append(line)
        else:
            placed.before.setdefault(ranked[position].submission_id, []).append(line)
    placed.unscored.extend(line for line in lines if line.score is None)
    return placed


class KeptLines:
    """The lines that were made last, by what they depend on. May be used by several threads."""

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._kept: OrderedDict[object, tuple[Line, ...]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: object, make: Callable[[], tuple[Line, ...]]) -> tuple[Line, ...]:
        """What was made for that key, or is made now."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return made
