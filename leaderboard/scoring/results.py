"""From a task's outcomes to bootstrap replicates, and from tasks to the aggregate. Pure and seeded.

Replicates are kept as little-endian float32 so that any two entries can be compared later (common random numbers: the
seed is the suite, not the entry).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from competition.errors import ValidationFailedError
from competition.records.evaluation import MAX_OUTCOMES, Interval, TaskResult
from competition.rules import Suite
from competition.rules.aggregates import aggregate_replicates, aggregate_value
from competition.rules.protocols import UNBOUNDED
from competition.statistics import REPLICATES, bootstrap_replicates, percentile_interval

# float16 holds an outcome to three digits, and no less than the smallest step between two of its numbers.
_TOLERANCE = 2e-3
_SMALLEST_STEP = 2.0**-24
# How a quotient was rounded.
_ROUNDING = 1e-9
_MAX_QUERIES = 20_000_000
_MAX_SIZE = 1e12


@dataclass(frozen=True)
class Spread:
    """A 95 % interval with the replicates [2000] it comes from."""

    low: float
    high: float
    replicates: NDArray[np.float64]


@dataclass(frozen=True)
class Aggregated:
    """The primary aggregate; ``value`` is None where it needs all entries, ``spread`` where nothing was resampled."""

    value: float | None
    spread: Spread | None


def check(result: TaskResult, suite: Suite) -> None:
    """Raises ``ValidationFailedError`` unless the result fits its task and its own numbers fit together."""
    tasks = {task.id: task for task in suite.tasks}
    if result.task not in tasks:
        raise ValidationFailedError(
            f"result.task: suite {suite.reference} has no task {result.task!r}.", hint=f"It has: {', '.join(tasks)}."
        )
    expected = tasks[result.task].metric
    if result.metric != expected:
        raise ValidationFailedError(f"result.metric: task {result.task!r} is scored by {expected!r}.")
    _check_value(result)
    if result.samples > MAX_OUTCOMES or sum(part.count for part in result.outcomes) > _MAX_QUERIES:
        raise ValidationFailedError("result.outcomes: more queries than a task may have.")
    if result.unreadable > tasks[result.task].unreadable_tolerance * (result.samples + result.unreadable):
        raise ValidationFailedError(f"result.unreadable: task {result.task!r} tolerates fewer images.")


def _check_value(result: TaskResult) -> None:
    bounds = () if result.interval is None else (result.interval.low, result.interval.high)
    numbers = (result.value, *bounds)
    if result.metric not in UNBOUNDED and not all(0.0 <= number <= 1.0 for number in numbers):
        raise ValidationFailedError(f"result.value: {result.metric} is a share: it and its bounds lie in [0, 1].")
    if not all(abs(number) <= _MAX_SIZE for number in numbers):
        raise ValidationFailedError(f"result.value: it and its bounds are at most {_MAX_SIZE:g} in size.")
    if result.interval is None:
        if result.outcomes:
            raise ValidationFailedError("result.interval: outcomes can be resampled, so there is one.")
        return
    room = _ROUNDING * max(1.0, abs(result.value))
    if not result.interval.low - room <= result.value <= result.interval.high + room:
        raise ValidationFailedError("result.interval: the value lies outside of it.")


def replicates_of(result: TaskResult, suite_digest: str) -> NDArray[np.float64] | None:
    """Replicates [2000] of a task's value; without outcomes, normal ones from its interval (independent errors).

    None without an interval: it is not known how far the value would differ on other samples. Outcomes behind a share
    need not lie in [0, 1] one by one: units of more queries weigh more, and those of an F1 are its influences.

    Raises ``ValidationFailedError`` when the outcomes cannot be decoded or do not give the value.
    """
    if result.interval is None:
        return None
    if not result.outcomes:
        return _independent(result, result.interval, f"{suite_digest}/{result.task}")
    try:
        components = [part.decode() for part in result.outcomes]
    except ValueError as error:
        raise ValidationFailedError(f"result.outcomes: {error}.") from error
    if not all(np.isfinite(part).all() for part in components):
        raise ValidationFailedError("result.outcomes: values are finite.")
    mean = float(np.mean([part.mean() for part in components]))
    if abs(mean - result.value) > _tolerance(result, components):
        raise ValidationFailedError(f"result.value: the outcomes give {mean:.6g}, not {result.value:.6g}.")
    return bootstrap_replicates(components, seed_text=suite_digest)


def _tolerance(result: TaskResult, components: list[NDArray[np.float64]]) -> float:
    """By how much the mean of rounded outcomes may miss the value: in proportion to their size."""
    size = float(np.mean([np.abs(part).mean() for part in components]))
    if result.metric not in UNBOUNDED:
        size = max(size, 1.0)
    return _TOLERANCE * size + _SMALLEST_STEP


def aggregate(
    suite: Suite, values: Mapping[str, float], replicates: Mapping[str, NDArray[np.float64] | None]
) -> Aggregated:
    """The suite's primary aggregate from every task's value, and by the same rule replicate by replicate.

    Raises ``ValueError`` when a task of the aggregate has no value.
    """
    primary = suite.primary_aggregate
    found = aggregate_value(suite, primary, values)
    if found.missing:
        raise ValueError(f"no value of {', '.join(found.missing)}")
    known = {task: parts for task, parts in replicates.items() if parts is not None}
    combined = aggregate_replicates(suite, primary, known)
    if found.value is None or combined is None:
        return Aggregated(found.value, None)
    low, high = percentile_interval(combined)
    return Aggregated(found.value, Spread(min(low, found.value), max(high, found.value), combined))


def pack(replicates: NDArray[np.float64]) -> bytes:
    """Replicates as stored."""
    return replicates.astype("<f4").tobytes()


def unpack(stored: bytes) -> NDArray[np.float64]:
    """Replicates [2000] from how they are stored."""
    return np.frombuffer(stored, dtype="<f4").astype(np.float64)


def _independent(result: TaskResult, interval: Interval, seed: str) -> NDArray[np.float64]:
    width = interval.high - interval.low
    quantile = float(ndtri(0.5 + min(interval.confidence, 0.9999) / 2.0))
    error = width / (2.0 * quantile) if quantile > 0 else 0.0
    text = f"{seed}/{result.model_dump_json()}"
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
    drawn = result.value + error * generator.standard_normal(REPLICATES)
    return drawn if result.metric in UNBOUNDED else np.clip(drawn, 0.0, 1.0)
