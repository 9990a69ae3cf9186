"""What a task's result must be to count, and its bootstrap replicates as they are kept. Pure.

Replicates are kept as little-endian float32 so that any two entries can be compared later (common random numbers, see
``competition.rules.uncertainty``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from competition.errors import ValidationFailedError
from competition.records.evaluation import MAX_OUTCOMES, TaskResult
from competition.rules import Suite
from competition.rules.protocols import UNBOUNDED
from competition.rules.uncertainty import task_replicates

# float16 holds an outcome to three digits, and no less than the smallest step between two of its numbers.
_TOLERANCE = 2e-3
_SMALLEST_STEP = 2.0**-24
# How a quotient was rounded.
_ROUNDING = 1e-9
_MAX_QUERIES = 20_000_000
_MAX_SIZE = 1e12


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
    """``task_replicates`` of a result whose outcomes give its value; None without an interval.

    Outcomes behind a share need not lie in [0, 1] one by one: units of more queries weigh more, and those of an F1 are
    its influences.

    Raises ``ValidationFailedError`` when the outcomes cannot be decoded or do not give the value.
    """
    if result.interval is None or not result.outcomes:
        return task_replicates(result, (), suite_digest)
    try:
        components = [part.decode() for part in result.outcomes]
    except ValueError as error:
        raise ValidationFailedError(f"result.outcomes: {error}.") from error
    if not all(np.isfinite(part).all() for part in components):
        raise ValidationFailedError("result.outcomes: values are finite.")
    mean = float(np.mean([part.mean() for part in components]))
    if abs(mean - result.value) > _tolerance(result, components):
        raise ValidationFailedError(f"result.value: the outcomes give {mean:.6g}, not {result.value:.6g}.")
    return task_replicates(result, components, suite_digest)


def _tolerance(result: TaskResult, components: list[NDArray[np.float64]]) -> float:
    """By how much the mean of rounded outcomes may miss the value: in proportion to their size."""
    size = float(np.mean([np.abs(part).mean() for part in components]))
    if result.metric not in UNBOUNDED:
        size = max(size, 1.0)
    return _TOLERANCE * size + _SMALLEST_STEP


def pack(replicates: NDArray[np.float64]) -> bytes:
    """Replicates as stored."""
    return replicates.astype("<f4").tobytes()


def unpack(stored: bytes) -> NDArray[np.float64]:
    """Replicates [2000] from how they are stored."""
    return np.frombuffer(stored, dtype="<f4").astype(np.float64)
