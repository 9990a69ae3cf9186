"""How numbers, times and names are written on every page. Pure functions, used as filters in the templates."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup, escape

from competition.records.evaluation import Interval
from competition.records.submission import value_text

MISSING = "–"
_BYTE_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def score(value: float | None) -> str:
    """A value, mostly with three decimals; a missing one is a dash, never 0."""
    return MISSING if value is None else value_text(value)


def half_width(interval: Interval) -> str:
    """Half of the interval's width, for writing ``value ± half``. Exact bounds are always given beside it."""
    return f"{(interval.high - interval.low) / 2:.3f}"


def bounds(interval: Interval) -> str:
    """The interval in words, the same on screen and for screen readers."""
    return f"{interval.low:.3f} to {interval.high:.3f}"


def count(value: int | None) -> str:
    """An integer with thousands separators."""
    return MISSING if value is None else f"{value:,}"


def share(part: int, whole: int) -> str:
    """A percentage without decimals, except where that would hide that something or not everything is meant."""
    if whole <= 0:
        return MISSING
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "under 1 %"
    return f"{percent:,.0f} %"


def seconds(value: float) -> str:
    """A duration, short."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min"


def size(value: int) -> str:
    """A number of bytes in binary units."""
    amount, unit = float(value), 0
    while amount >= 1024 and unit < len(_BYTE_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {_BYTE_UNITS[unit]}"


def instant(moment: datetime) -> str:
    """The UTC time to the minute, zone included."""
    utc = moment.astimezone(UTC)
    return f"{utc.day} {utc:%b %Y, %H:%M} UTC"


def exact(moment: datetime) -> str:
    """The UTC time to the second, zone included."""
    utc = moment.astimezone(UTC)
    return f"{utc.day} {utc:%b %Y, %H:%M:%S} UTC"


def iso(moment: datetime) -> str:
    """The UTC time for machines (the ``datetime`` attribute)."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def short(digest: str) -> str:
    """The first ten characters of a digest or commit."""
    return digest[:10]


def code_spans(text: str) -> Markup:
    """Escaped text in which what stands between two backticks is code; a single backtick stays as it is."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        parts[-2:] = [f"{parts[-2]}`{parts[-1]}"]
    marked = [Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)]
    return Markup("").join(marked)
