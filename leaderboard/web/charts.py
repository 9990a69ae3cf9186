"""Geometry of the interval plots. Positions are percentages of the plot's width, so that one drawing fits any column.

The templates draw inline SVG from these numbers; nothing here is markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from competition.records.submission import Score

_STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25)
_MOST_INTERVALS = 4
_MOST_DECIMALS = 8
_LEAST_SPAN = 1e-9
_MARGIN = 6.0  # percent kept free at both ends, so that caps and tick labels are not cut off
_REACH = 9.0  # how far below the best value the axis may reach, in typical interval widths


@dataclass(frozen=True)
class Axis:
    """A shared scale of values: every row of a table is drawn on the same one."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Position of a value in percent of the width (0–100); values outside are drawn at the edge."""
        inside = min(max(value, self.low), self.high)
        share = (inside - self.low) / (self.high - self.low)
        return round(_MARGIN + share * (100 - 2 * _MARGIN), 2)

    def side(self, score: Score) -> str:
        """``below`` or ``above`` where a score leaves the axis: an arrow at that edge, never drawn in part."""
        low, high = _span(score)
        room = 1e-9 * max(abs(self.low), abs(self.high), 1.0)
        if low < self.low - room:
            return "below"
        return "above" if high > self.high + room else ""

    def off(self, value: float) -> bool:
        """Whether a value leaves the axis."""
        return not self.low <= value <= self.high

    def percent(self, value: float) -> str:
        """The position as an SVG length."""
        return f"{self.at(value)}%"

    def width(self, low: float, high: float) -> str:
        """The distance between two values as an SVG length."""
        return f"{round(self.at(high) - self.at(low), 2)}%"

    def label(self, tick: float) -> str:
        """A tick's text: as many decimals as the ticks need."""
        step = self.ticks[1] - self.ticks[0]
        for decimals in range(0 if step >= 1 else 1, _MOST_DECIMALS):
            if all(abs(round(value, decimals) - value) < 1e-6 * step for value in self.ticks):
                return f"{tick:.{decimals}f}"
        return f"{tick:.2e}"


UNIT = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))


def axis_for(scores: Iterable[Score], *, less_is_better: bool = False) -> Axis:
    """An axis with round ticks on which the best intervals can be told apart; the unit range when there are none.

    It holds the best interval and all others, unless some lie so far from the best that the others would shrink to
    dots; those are left off the axis (``Axis.side``). Scores without an interval are dots anyway.
    """
    spans = [_span(score) for score in scores]
    if not spans:
        return UNIT
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    reach = _REACH * median(top - bottom for bottom, top in spans)
    if reach > 0 and less_is_better:
        high = max(top for bottom, top in spans if bottom <= low + reach)
    elif reach > 0:
        low = min(bottom for bottom, top in spans if top >= high - reach)
    return _unit_axis(low, high) if low >= 0 and high <= 1 else _wide_axis(low, high)


def _span(score: Score) -> tuple[float, float]:
    return (score.value, score.value) if score.interval is None else (score.interval.low, score.interval.high)


def _wide_axis(low: float, high: float) -> Axis:
    """Ticks at multiples of 1, 2 or 5 times a power of ten; at most ``_MOST_INTERVALS`` between them."""
    span = max(high - low, 1e-3 * max(abs(low), abs(high)), _LEAST_SPAN)
    exponent = math.floor(math.log10(span)) - 1
    for factor in (1, 2, 5, 10, 20, 50):
        step = factor * 10.0**exponent
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        last = max(last, first + 1)
        if last - first <= _MOST_INTERVALS:
            break
    ticks = tuple(round(index * step, max(0, -exponent)) for index in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def _unit_axis(low: float, high: float) -> Axis:
    for step in _STEPS:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        first = min(first, round(1 / step) - 1)
        last = max(last, first + 1)
        if last - first <= _MOST_INTERVALS:
            ticks = tuple(round(index * step, 3) for index in range(first, last + 1))
            return Axis(ticks[0], ticks[-1], ticks)
    return UNIT
