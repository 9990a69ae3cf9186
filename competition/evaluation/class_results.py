"""From the counts of a protocol to what a result says about each class."""

from __future__ import annotations

import re
from collections.abc import Sequence

from competition.evaluation.outcome import ClassCounts
from competition.records.base import Line
from competition.records.evaluation import MAX_CLASSES, ClassResult

_LONGEST_NAME = 120
_UNSHOWABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")


def class_results(counts: ClassCounts | None, names: Sequence[str]) -> tuple[ClassResult, ...]:
    """A result of every class that has test samples; none where there are no counts, or more than 1,000 classes.

    Args:
        counts: samples and right first choices [C].
        names: of the set's classes; where there are not C of them they are other classes, and nothing is named.
    """
    if counts is None or len(counts.samples) > MAX_CLASSES:
        return ()
    named = len(names) == len(counts.samples)
    return tuple(
        ClassResult(label=label, name=_line(names[label]) if named else None, right=int(right), n=int(n))
        for label, (n, right) in enumerate(zip(counts.samples, counts.right, strict=True))
        if n
    )


def _line(name: str) -> Line | None:
    """A name as a record may hold it: without control characters, and cut where it is long."""
    return _UNSHOWABLE.sub(" ", name)[:_LONGEST_NAME].strip() or None
