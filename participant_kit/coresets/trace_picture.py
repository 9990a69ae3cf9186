"""F_t over the rounds as a small SVG that needs nothing else."""

from __future__ import annotations

from participant_kit.coresets.facility_location import Selection, StopRule

_WIDTH, _HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 40, 48
_TICKS = 5
_LINE, _MARK, _GRID = "#1f6fb2", "#c0392b", "#dddddd"
_STYLE = f'width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="12" fill="#222222" role="img"'


def trace_picture(selection: Selection, rule: StopRule | None) -> str:
    """The picture: the trace, the threshold of the stop rule, and the last round that counts."""
    trace = selection.trace
    threshold = None
    if rule is not None and len(trace) >= rule.reference_round:
        threshold = rule.tau * trace[rule.reference_round - 1]
    plot = _Plot(len(trace), [*trace, *([] if threshold is None else [threshold])])
    title = f"{len(selection.rows):,} rows in {selection.kept_rounds:,} rounds; ended by {selection.ended}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_STYLE}>',
        f"<title>F_t by round: {title}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="24" font-size="14">{title}</text>',
        *plot.axes(),
    ]
    if threshold is not None and rule is not None:
        parts += plot.level(threshold, f"{rule.tau:g} of round {rule.reference_round}")
    points = " ".join(f"{plot.x(number):.1f},{plot.y(value):.1f}" for number, value in enumerate(trace, 1))
    parts.append(f'<polyline points="{points}" fill="none" stroke="{_LINE}" stroke-width="2"/>')
    if selection.kept_rounds:
        last = selection.kept_rounds
        parts.append(f'<circle cx="{plot.x(last):.1f}" cy="{plot.y(trace[last - 1]):.1f}" r="4" fill="{_LINE}"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Plot:
    """Places of rounds and values, and the axes."""

    def __init__(self, rounds: int, values: list[float]) -> None:
        self._rounds = max(2, rounds)
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        margin = 0.05 * (high - low) or 0.05
        self._low, self._high = low - margin, high + margin

    def x(self, number: int) -> float:
        """Of a round, counted from 1."""
        return _LEFT + (number - 1) / (self._rounds - 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Of a value."""
        return _TOP + (self._high - value) / (self._high - self._low) * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self) -> list[str]:
        """Grid lines with values, and some rounds' numbers."""
        parts = []
        for step in range(_TICKS):
            value = self._low + (self._high - self._low) * step / (_TICKS - 1)
            parts.append(_line(_LEFT, self.y(value), _WIDTH - _RIGHT, self.y(value), _GRID))
            parts.append(f'<text x="{_LEFT - 8}" y="{self.y(value) + 4:.1f}" text-anchor="end">{value:.3f}</text>')
        numbers = sorted({1 + (self._rounds - 1) * step // (_TICKS - 1) for step in range(_TICKS)})
        below = [(self.x(number), _HEIGHT - _BOTTOM + 18, str(number)) for number in numbers]
        below.append(((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, "round"))
        parts += [f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{label}</text>' for x, y, label in below]
        return [*parts, f'<text x="8" y="{_TOP - 6}">F</text>']

    def level(self, value: float, label: str) -> list[str]:
        """A marked value."""
        y = self.y(value)
        return [
            _line(_LEFT, y, _WIDTH - _RIGHT, y, _MARK, ' stroke-dasharray="6 4"'),
            f'<text x="{_LEFT + 4}" y="{y - 5:.1f}" fill="{_MARK}">{label}</text>',
        ]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'
