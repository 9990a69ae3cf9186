"""Geometry of the interval plots. Positions are percentages of the plot's width, so that one drawing fits any column.

The templates draw inline SVG from these numbers; nothing here is markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from competition.records.evaluation import Interval

_STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25)
_MOST_INTERVALS = 4
_MARGIN = 6.0  # percent kept free at both ends, so that caps and tick labels are not cut off
_REACH = 9.0  # how far below the best value the axis may reach, in typical interval widths


@dataclass(frozen=True)
class Axis:
    """A shared scale of values in [0, 1]: every row of a table is drawn on the same one."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Position of a value in percent of the width (0–100); values outside are drawn at the edge."""
        inside = min(max(value, self.low), self.high)
        share = (inside - self.low) / (self.high - self.low)
        return round(_MARGIN + share * (100 - 2 * _MARGIN), 2)

    def misses(self, interval: Interval) -> bool:
        """Whether the interval begins below the axis: it is then an arrow at the edge, never drawn in part."""
        return interval.low < self.low - 1e-9

    def percent(self, value: float) -> str:
        """The position as an SVG length."""
        return f"{self.at(value)}%"

    def width(self, low: float, high: float) -> str:
        """The distance between two values as an SVG length."""
        return f"{round(self.at(high) - self.at(low), 2)}%"

    def label(self, tick: float) -> str:
        """A tick's text: as many decimals as the ticks need."""
        for decimals in (1, 2):
            if all(abs(round(value, decimals) - value) < 1e-9 for value in self.ticks):
                return f"{tick:.{decimals}f}"
        return f"{tick:.3f}"


UNIT = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))


def axis_for(intervals: Iterable[Interval]) -> Axis:
    """An axis with round ticks on which the best intervals can be told apart; the unit range when there are none.

    It ends above the highest interval and holds all of them, unless some lie so far below the best that the others
    would shrink to dots; those are left off the axis (``Axis.misses``).
    """
    known = list(intervals)
    if not known:
        return UNIT
    high = max(interval.high for interval in known)
    typical = median(interval.high - interval.low for interval in known)
    reach = high - _REACH * typical
    return _round_axis(min(interval.low for interval in known if interval.high >= reach), high)


def _round_axis(low: float, high: float) -> Axis:
    for step in _STEPS:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        first = min(first, round(1 / step) - 1)
        last = max(last, first + 1)
        if last - first <= _MOST_INTERVALS:
            ticks = tuple(round(index * step, 3) for index in range(first, last + 1))
            return Axis(ticks[0], ticks[-1], ticks)
    return UNIT
