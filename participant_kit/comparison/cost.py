"""How many resamples of the images a comparison can afford: reports come from anybody, and one of a few kilobytes may
hold millions of outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from competition.errors import UsageError
from competition.records.evaluation import TaskResult
from competition.statistics import REPLICATES

MOST_DRAWS = 4_000_000_000
"""Units drawn for one report: 20 seconds on one core that draws 200 million a second."""
LEAST_REPLICATES = 400
"""Below these, ten of which lie beyond each end of a 95 % interval, its ends would be noise."""
MOST_VALUES = 50_000_000
"""Outcomes in memory at a time, 8 bytes each."""
_COMPONENT_UNITS = 10
"""What a component costs beside its units."""

_HINT = "A report has about as many outcomes as its suite has images; is this one `datacup evaluate` wrote?"


def affordable_replicates(tasks: Iterable[Sequence[TaskResult]]) -> int:
    """How many replicates to draw of all tasks: 2,000, or fewer, at least 400, above two million units together.

    The first ones of 2,000 are drawn, so that fewer replicates say the same with more noise.

    Args:
        tasks: the results that are compared, task by task; the units of a task are drawn once for all of them.

    Raises:
        UsageError: there are so many units that not even 400 can be afforded, or that they fill the memory.
    """
    units = drawn = values = 0
    for results in tasks:
        units += max(map(_units, results), default=0)
        drawn += max((_units(result) + _COMPONENT_UNITS * len(result.outcomes) for result in results), default=0)
        values = max(values, sum(map(_units, results)))
    affordable = min(REPLICATES, MOST_DRAWS // max(drawn, 1))
    if affordable < LEAST_REPLICATES:
        raise UsageError(f"The reports have {units:,} outcomes, too many to resample them.", hint=_HINT)
    if values > MOST_VALUES:
        raise UsageError(
            f"The reports have {values:,} outcomes of one task, more than the {MOST_VALUES:,} that are read.",
            hint=_HINT,
        )
    return affordable


def _units(result: TaskResult) -> int:
    return sum(part.count for part in result.outcomes)
