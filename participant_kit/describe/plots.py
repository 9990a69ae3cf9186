"""Small plots as SVG that need nothing else: bars of a histogram, bars with names, a falling curve, and dots.

They take their colours from the page (``--ink``, ``--line``, ``--bar``), and fit a phone: 400 units wide.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence

WIDTH, HEIGHT = 400, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 28, 46
_LEAST_GAP = 34
"""Units that a label on the horizontal axis needs."""


def histogram(title: str, edges: Sequence[float], counts: Sequence[int], unit: str, counted: str = "rows") -> str:
    """How many have which value.

    Args:
        title: what the plot is of, for those who cannot see it.
        edges: of the bins; the first and the last bin are open.
        counts: one more than edges. Bins at either end that have no rows are left out.
        unit: of the values.
        counted: what has the values.
    """
    filled = [number for number, count in enumerate(counts) if count] or [0]
    first = filled[0]
    bins = range(first, filled[-1] + 1)
    axis = _Axis(max(counts))
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(bins))
    parts = list(axis.lines())
    for place, number in enumerate(bins):
        parts.append(
            _bar(_LEFT + place * step, step, axis.y(counts[number]), f"{_bin(edges, number)}: {counts[number]:,}")
        )
    room = 0.0
    for place in range(len(bins) + 1):
        number = first + place - 1
        x = _LEFT + place * step
        if 0 <= number < len(edges) and x >= room:
            parts.append(_text(x, HEIGHT - _BOTTOM + 16, f"{edges[number]:g}", "middle"))
            room = x + _LEAST_GAP
    return _svg(title, [*parts, *_axis_names(unit or "ratio", counted)])


def bin_names(edges: Sequence[float]) -> list[str]:
    """What to call the bins."""
    return [_bin(edges, number) for number in range(len(edges) + 1)]


def _bin(edges: Sequence[float], number: int) -> str:
    if number == 0:
        return f"below {edges[0]:g}"
    if number == len(edges):
        return f"from {edges[-1]:g}"
    return f"{edges[number - 1]:g} to {edges[number]:g}"


def named_bars(title: str, bars: Sequence[tuple[str, int]]) -> str:
    """A bar for each name, one below the other, with its count."""
    left, row = 70, 17
    height = row * len(bars) + 8
    most = max((count for _, count in bars), default=0)
    parts = []
    for place, (name, count) in enumerate(bars):
        y = 4 + place * row
        width = (WIDTH - left - 70) * count / max(1, most)
        shown = html.escape(name)
        parts.append(_text(left - 6, y + 12, shown, "end"))
        parts.append(f'<rect class="bar" x="{left}" y="{y + 2:.1f}" width="{width:.1f}" height="{row - 5}"/>')
        parts.append(_text(left + width + 5, y + 12, f"{count:,}", "start"))
    return _svg(title, parts, height)


def rank_curve(title: str, counts: Sequence[int]) -> str:
    """Samples of classes, the largest class first; logarithmic where the largest has ten times the smallest.

    Args:
        title: see ``histogram``.
        counts: in descending order, at least one.
    """
    filled = [count for count in counts if count]
    logarithmic = bool(filled) and filled[0] >= 10 * filled[-1]
    axis = _Axis(max(counts), logarithmic=logarithmic)
    x = _scale(1, max(2, len(counts)))
    points = " ".join(f"{x(rank):.1f},{axis.y(count):.1f}" for rank, count in enumerate(counts, 1) if count)
    parts = [*axis.lines(), f'<polyline class="curve" points="{points}"/>']
    if len(counts) <= 60:
        parts += [
            _dot(x(rank), axis.y(count), f"rank {rank}: {count:,}") for rank, count in enumerate(counts, 1) if count
        ]
    parts += [_text(x(rank), HEIGHT - _BOTTOM + 16, f"{rank:,}", "middle") for rank in _ranks(len(counts))]
    return _svg(
        title, [*parts, *_axis_names("rank of the class", "samples" + (", logarithmic" if logarithmic else ""))]
    )


def dots(title: str, points: Sequence[tuple[float, float, str]], across: str, up: str) -> str:
    """One dot for each of some (x, y, name); both axes begin at 0.

    Args:
        title: see ``histogram``.
        points: not negative.
        across: what x is.
        up: what y is.
    """
    most = max((x for x, _, _ in points), default=1.0) or 1.0
    axis = _Axis(max((y for _, y, _ in points), default=1.0))
    x_of = _scale(0, most)
    parts = list(axis.lines())
    parts += [_dot(x_of(x), axis.y(y), f"{name}: {x:g}, {y:g}") for x, y, name in points]
    ticks = [tick for tick in _ticks(most) if tick <= most]
    parts += [_text(x_of(tick), HEIGHT - _BOTTOM + 16, f"{tick:,g}", "middle") for tick in ticks]
    return _svg(title, [*parts, *_axis_names(across, up)])


class _Axis:
    """The upward axis, from 0, or from 1 in powers of ten."""

    def __init__(self, most: float, *, logarithmic: bool = False) -> None:
        self._logarithmic = logarithmic
        self._ticks = (
            [10.0**power for power in range(math.ceil(math.log10(max(10, most))) + 1)] if logarithmic else _ticks(most)
        )
        self._top = self._ticks[-1]

    def y(self, value: float) -> float:
        """Where a value is."""
        share = math.log10(max(1, value)) / math.log10(self._top) if self._logarithmic else value / self._top
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    def lines(self) -> Iterator[str]:
        """Lines across with their values."""
        for tick in self._ticks:
            y = self.y(tick)
            yield f'<line class="grid-line" x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}"/>'
            yield _text(_LEFT - 6, y + 4, _short(tick), "end")


def _ticks(most: float) -> list[float]:
    """Round values from 0 to at least ``most``."""
    if most <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(most / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor * 4 >= most * (1 - 1e-9))
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def _short(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):g}{unit}"
    return f"{value:,g}"


def _scale(low: float, high: float) -> Callable[[float], float]:
    """Places on the horizontal axis."""
    return lambda value: _LEFT + 6 + (value - low) / (high - low) * (WIDTH - _LEFT - _RIGHT - 12)


def _ranks(classes: int) -> list[int]:
    return sorted({1 + (classes - 1) * part // 4 for part in range(5)})


def _bar(x: float, width: float, y: float, said: str) -> str:
    height = HEIGHT - _BOTTOM - y
    inner = max(0.5, width - 1.5)
    return (
        f'<rect class="bar" x="{x + 0.75:.1f}" y="{y:.1f}" width="{inner:.1f}" height="{height:.1f}">'
        f"<title>{html.escape(said)}</title></rect>"
    )


def _dot(x: float, y: float, said: str) -> str:
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{html.escape(said)}</title></circle>'


def _text(x: float, y: float, escaped: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped}</text>'


def _axis_names(across: str, up: str) -> list[str]:
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    return [_text(middle, HEIGHT - 8, html.escape(across), "middle"), _text(2, 12, html.escape(up), "start")]


def _svg(title: str, parts: Sequence[str], height: int = HEIGHT) -> str:
    name = html.escape(title)
    head = f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">'
    return "".join([head, *parts, "</svg>"])
