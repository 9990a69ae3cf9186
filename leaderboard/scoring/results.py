"""From a task's outcomes to bootstrap replicates, and from tasks to the aggregate. Pure and seeded.

Replicates are kept as little-endian float32 so that any two entries can be compared later (common random numbers: the
seed is the suite, not the entry).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from competition.errors import ValidationFailedError
from competition.records.evaluation import MAX_OUTCOMES, TaskResult
from competition.rules import Suite
from competition.statistics import REPLICATES, bootstrap_replicates, percentile_interval

# float16 holds an outcome to three digits.
_TOLERANCE = 2e-3
_MAX_QUERIES = 20_000_000


@dataclass(frozen=True)
class Aggregated:
    """The primary aggregate with its 95 % interval and replicates [2000]."""

    value: float
    low: float
    high: float
    replicates: NDArray[np.float64]


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
    if not result.interval.low <= result.value <= result.interval.high:
        raise ValidationFailedError("result.interval: the value lies outside of it.")
    if result.samples > MAX_OUTCOMES or sum(part.count for part in result.outcomes) > _MAX_QUERIES:
        raise ValidationFailedError("result.outcomes: more queries than a task may have.")
    if result.unreadable > tasks[result.task].unreadable_tolerance * (result.samples + result.unreadable):
        raise ValidationFailedError(f"result.unreadable: task {result.task!r} tolerates fewer images.")


def replicates_of(result: TaskResult, suite_digest: str) -> NDArray[np.float64]:
    """Replicates [2000] of a task's value; without outcomes, normal ones from its interval (independent errors).

    Raises ``ValidationFailedError`` when the outcomes cannot be decoded or do not give the value.
    """
    if not result.outcomes:
        return _independent(result, f"{suite_digest}/{result.task}")
    try:
        components = [part.decode() for part in result.outcomes]
    except ValueError as error:
        raise ValidationFailedError(f"result.outcomes: {error}.") from error
    if not all(np.all((part >= 0.0) & (part <= 1.0)) for part in components):
        raise ValidationFailedError("result.outcomes: values lie in [0, 1].")
    mean = float(np.mean([part.mean() for part in components]))
    if abs(mean - result.value) > _TOLERANCE:
        raise ValidationFailedError(f"result.value: the outcomes give {mean:.4f}, not {result.value:.4f}.")
    return bootstrap_replicates(components, seed_text=suite_digest)


def aggregate(values: Sequence[float], replicates: Sequence[NDArray[np.float64]]) -> Aggregated:
    """The unweighted mean over tasks: of their values, and replicate by replicate."""
    if not values or len(values) != len(replicates):
        raise ValueError("an aggregate needs a value and replicates of every task")
    mean = np.mean(np.stack(replicates), axis=0)
    value = float(np.mean(values))
    low, high = percentile_interval(mean)
    return Aggregated(value, min(low, value), max(high, value), mean)


def pack(replicates: NDArray[np.float64]) -> bytes:
    """Replicates as stored."""
    return replicates.astype("<f4").tobytes()


def unpack(stored: bytes) -> NDArray[np.float64]:
    """Replicates [2000] from how they are stored."""
    return np.frombuffer(stored, dtype="<f4").astype(np.float64)


def _independent(result: TaskResult, seed: str) -> NDArray[np.float64]:
    width = result.interval.high - result.interval.low
    quantile = float(ndtri(0.5 + min(result.interval.confidence, 0.9999) / 2.0))
    error = width / (2.0 * quantile) if quantile > 0 else 0.0
    text = f"{seed}/{result.model_dump_json()}"
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
    return np.clip(result.value + error * generator.standard_normal(REPLICATES), 0.0, 1.0)
