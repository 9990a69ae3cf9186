"""How uncertain a task's value and a suite's aggregates are: the same at home and on the leaderboard. Pure and seeded.

The seed is the suite and not the entry, so that any two entries can be compared (common random numbers).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from competition.records.evaluation import Interval, TaskResult
from competition.rules.aggregates import AggregateValue, aggregate_replicates, aggregate_value
from competition.rules.protocols import UNBOUNDED
from competition.rules.suites import Aggregate, Suite
from competition.statistics import REPLICATES, bootstrap_replicates, percentile_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """A 95 % interval with the replicates [2000] it comes from."""

    low: float
    high: float
    replicates: Floats


@dataclass(frozen=True, slots=True)
class UncertainAggregate:
    """An aggregate of one entry; ``spread`` is None where it has no value, or where nothing could be resampled."""

    found: AggregateValue
    spread: Spread | None


def task_replicates(result: TaskResult, components: Sequence[Floats], suite_digest: str) -> Floats | None:
    """Replicates [2000] of a task's value; without outcomes, normal ones from its interval (independent errors).

    None without an interval: it is not known how far the value would differ on other samples.

    Args:
        result: of the task.
        components: its outcomes, decoded.
        suite_digest: of the suite that it was evaluated under.
    """
    if result.interval is None:
        return None
    if not components:
        return _independent(result, result.interval, f"{suite_digest}/{result.task}")
    return bootstrap_replicates(components, seed_text=suite_digest)


def uncertain_aggregate(
    suite: Suite, aggregate: Aggregate, values: Mapping[str, float], replicates: Mapping[str, Floats | None]
) -> UncertainAggregate:
    """One aggregate of one entry from its tasks' values, and by the same rule replicate by replicate.

    Args:
        suite: of which ``aggregate`` is part.
        aggregate: what is computed.
        values: by task id; tasks that were not scored are absent.
        replicates: [2000] each by task id; None, or absent, where a value has no interval.
    """
    found = aggregate_value(suite, aggregate, values)
    if found.value is None:
        return UncertainAggregate(found, None)
    known = {task: parts for task, parts in replicates.items() if parts is not None}
    combined = aggregate_replicates(suite, aggregate, known)
    if combined is None:
        return UncertainAggregate(found, None)
    low, high = percentile_interval(combined)
    return UncertainAggregate(found, Spread(min(low, found.value), max(high, found.value), combined))


def uncertain_aggregates(suite: Suite, results: Sequence[TaskResult]) -> tuple[UncertainAggregate, ...]:
    """Every aggregate of the suite from one entry's results; each task is resampled once.

    Raises ``ValueError`` when outcomes cannot be decoded.
    """
    values = {result.task: result.value for result in results}
    # What no aggregate can be made of is not resampled.
    complete = [aggregate for aggregate in suite.aggregates if set(aggregate.tasks) <= values.keys()]
    wanted = {task for aggregate in complete for task in aggregate.tasks}
    replicates = {
        result.task: task_replicates(result, [part.decode() for part in result.outcomes], suite.digest)
        for result in results
        if result.task in wanted
    }
    return tuple(uncertain_aggregate(suite, aggregate, values, replicates) for aggregate in suite.aggregates)


def _independent(result: TaskResult, interval: Interval, seed: str) -> Floats:
    width = interval.high - interval.low
    quantile = float(ndtri(0.5 + min(interval.confidence, 0.9999) / 2.0))
    error = width / (2.0 * quantile) if quantile > 0 else 0.0
    text = f"{seed}/{result.model_dump_json()}"
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
    drawn = result.value + error * generator.standard_normal(REPLICATES)
    return drawn if result.metric in UNBOUNDED else np.clip(drawn, 0.0, 1.0)
