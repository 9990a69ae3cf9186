"""From tasks' values to a suite's aggregates. Pure: the same for one entry at home and for all on the leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from statistics import fmean
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from competition.rules.suites import Aggregate, AverageRank, ChanceCentred, MeanOfGroups, RelativeToBaseline, Suite

Floats = NDArray[np.float64]
_Number = TypeVar("_Number", float, Floats)


@dataclass(frozen=True, slots=True)
class AggregateValue:
    """An aggregate of one entry; ``value`` is None where it is not available.

    ``missing`` are the tasks without a value, in the aggregate's order. With none missing and no value, the aggregate
    needs all entries (``average_ranks``).
    """

    aggregate: str
    value: float | None
    missing: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """Why there is no value; empty where there is one."""
        if self.value is not None:
            return ""
        if self.missing:
            return f"not available: no result of {', '.join(self.missing)}"
        return "not available: made from the ranks among all entries"


def aggregate_values(suite: Suite, values: Mapping[str, float]) -> tuple[AggregateValue, ...]:
    """Every aggregate of the suite from one entry's values by task id."""
    return tuple(aggregate_value(suite, aggregate, values) for aggregate in suite.aggregates)


def aggregate_value(suite: Suite, aggregate: Aggregate, values: Mapping[str, float]) -> AggregateValue:
    """One aggregate of one entry.

    Args:
        suite: of which ``aggregate`` is part.
        aggregate: what is computed.
        values: by task id; tasks that were not scored are absent. Unscored is never 0: a missing task makes the
            aggregate not available.
    """
    missing = tuple(task for task in aggregate.tasks if task not in values)
    if missing:
        return AggregateValue(aggregate.id, None, missing)
    if isinstance(aggregate.rule, AverageRank):
        return AggregateValue(aggregate.id, None)
    return AggregateValue(aggregate.id, _combined(suite, aggregate, values, fmean))


def aggregate_replicates(suite: Suite, aggregate: Aggregate, replicates: Mapping[str, Floats]) -> Floats | None:
    """Bootstrap replicates [R] of an aggregate: its rule, replicate by replicate.

    Args:
        suite: of which ``aggregate`` is part.
        aggregate: what is computed.
        replicates: [R] each by task id, with common random numbers; tasks whose value has no interval are absent.

    Returns:
        None where a task of the aggregate is absent, and for average ranks, which no entry has by itself.
    """
    if isinstance(aggregate.rule, AverageRank) or not set(aggregate.tasks) <= replicates.keys():
        return None
    return _combined(suite, aggregate, replicates, _mean_of_arrays)


def less_is_better(suite: Suite, aggregate: Aggregate) -> bool:
    """Whether the least value of an aggregate is the best: of average ranks, and of what is made of distances."""
    # A suite that mixes directions in another rule is refused.
    return isinstance(aggregate.rule, AverageRank) or suite.task(aggregate.tasks[0]).less_is_better


def _mean_of_arrays(parts: Sequence[Floats]) -> Floats:
    mean: Floats = np.mean(np.stack(parts), axis=0)
    return mean


def _combined(
    suite: Suite, aggregate: Aggregate, values: Mapping[str, _Number], mean: Callable[[Sequence[_Number]], _Number]
) -> _Number:
    """The rule, on values or on arrays of replicates; ``mean`` is of several of them."""
    rule = aggregate.rule
    if isinstance(rule, RelativeToBaseline):
        return mean([values[task] / rule.scores[task] for task in aggregate.tasks])
    if isinstance(rule, ChanceCentred):
        chances = {task.id: task.chance or 0.0 for task in suite.tasks}
        return mean([(values[task] - chances[task]) / (1 - chances[task]) for task in aggregate.tasks])
    if isinstance(rule, MeanOfGroups):
        groups: dict[str, list[_Number]] = {}
        for task in aggregate.tasks:
            groups.setdefault(suite.task(task).group, []).append(values[task])
        return mean([mean(group) for group in groups.values()])
    return mean([values[task] for task in aggregate.tasks])


def average_ranks(
    suite: Suite, aggregate: Aggregate, entries: Sequence[Mapping[str, float]]
) -> tuple[AggregateValue, ...]:
    """Each entry's mean rank over the tasks of the aggregate (1 = best); equal values share the mean of their ranks.

    Only entries with a value of every task take part: what an entry without one would do to the others' ranks is not
    known.
    """
    lacking = [tuple(task for task in aggregate.tasks if task not in entry) for entry in entries]
    taking_part = [entry for entry, missing in zip(entries, lacking, strict=True) if not missing]
    ranks = {
        task: _ranks([entry[task] for entry in taking_part], descending=not suite.task(task).less_is_better)
        for task in (aggregate.tasks if taking_part else ())
    }
    results, place = [], 0
    for missing in lacking:
        if missing:
            results.append(AggregateValue(aggregate.id, None, missing))
            continue
        mean = fsum(float(ranks[task][place]) for task in aggregate.tasks) / len(aggregate.tasks)
        results.append(AggregateValue(aggregate.id, mean))
        place += 1
    return tuple(results)


def _ranks(values: Sequence[float], *, descending: bool) -> Floats:
    signed = np.asarray(values, dtype=np.float64) * (-1.0 if descending else 1.0)
    _, level, sizes = np.unique(signed, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(sizes) - (sizes - 1) / 2)[level]
    return ranks
