"""Metrics in the text format that Prometheus reads, version 0.0.4: families of samples with labels, one a line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass
class Family:
    """One metric: ``samples`` maps label values, in the order of ``labels``, to the value.

    Raises ``ValueError`` for a name that the format does not allow, or a counter whose name does not end in ``_total``.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()
    samples: dict[tuple[str, ...], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _METRIC.fullmatch(self.name) or not all(_LABEL.fullmatch(label) for label in self.labels):
            raise ValueError(f"{self.name!r} with labels {self.labels!r} is no name of a metric")
        if (self.kind == "counter") != self.name.endswith("_total"):
            raise ValueError(f"{self.name!r}: the names of counters, and only theirs, end in _total")

    def add(self, amount: float, *values: str) -> None:
        """Add to the sample of those label values, which is 0 at first."""
        self._check(values)
        self.samples[values] = self.samples.get(values, 0.0) + amount

    def set(self, value: float, *values: str) -> None:
        """Set the sample of those label values."""
        self._check(values)
        self.samples[values] = value

    def _check(self, values: tuple[str, ...]) -> None:
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name!r} has the labels {self.labels!r}, not {len(values)} of them")


def exposition(families: Iterable[Family]) -> str:
    """The page that is scraped. Samples are in the order of their labels, so that equal states give equal pages."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.help, quotes=False)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [
            f"{family.name}{_labels(dict(zip(family.labels, values, strict=True)))} {_number(value)}"
            for values, value in sorted(family.samples.items())
        ]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _escaped(text: str, *, quotes: bool) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
