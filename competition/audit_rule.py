"""From the numbers of an audit to its verdict: the scorer judges by it, and the leaderboard judges again. Pure.

At the entry's own scale its published score is compared with those of runs on its subset, as ``competition.seed_noise``
does. At a smaller scale the entry's score cannot be expected, for it is another training; there the runs on the subset
are compared with as many on random subsets of the same pool, of the same size and with the same multiplicities. That
says whether the subset is worth more than its size, and nothing about the model that was entered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from competition.errors import ValidationFailedError
from competition.records.audit import Arm, AuditBar, AuditComparison, AuditRun, AuditVerdict, KnownSpread
from competition.rules import Suite
from competition.rules.aggregates import aggregate_value, less_is_better
from competition.seed_noise import Bar, Comparison, SeedSpread, compare, seeds_needed


@dataclass(frozen=True)
class Findings:
    """What the numbers of an audit come to."""

    score: AuditComparison
    tasks: dict[str, AuditComparison]
    verdict: AuditVerdict
    seeds_needed: int | None


@dataclass(frozen=True)
class Errors:
    """Standard errors of gains from the choice of test samples: of the score, and by task."""

    score: float
    tasks: Mapping[str, float]


def score_of(suite: Suite, values: Mapping[str, float]) -> float:
    """The primary aggregate (raises ``ValidationFailedError`` where the values have none by themselves)."""
    found = aggregate_value(suite, suite.primary_aggregate, values)
    if found.value is None:
        raise ValidationFailedError(
            f"The score of suite {suite.reference} is {found.note or 'not available'}.",
            hint="Only entries with a score of their own can be audited.",
        )
    return found.value


def find(
    suite: Suite,
    runs: Sequence[AuditRun],
    entry: Mapping[str, float] | None,
    errors: Errors,
    bar: AuditBar,
    known: KnownSpread,
) -> Findings:
    """Compare and judge.

    Args:
        suite: of the entry.
        runs: of the audit.
        entry: its published values by task; None at a smaller scale.
        errors: see ``Errors``.
        bar: how sure to be.
        known: of the scores of other entries' runs.

    Raises ``ValidationFailedError`` when the runs do not fit together: a value is missing, too few of an arm.
    """
    less = less_is_better(suite, suite.primary_aggregate)
    scores = _sides(runs, None if entry is None else score_of(suite, entry), lambda run: score_of(suite, run.tasks))
    limits, spread = _bar(bar), SeedSpread(known.sd, known.degrees)
    found = _compared(scores, errors.score, limits, spread, less=less)
    tasks = {}
    for task in suite.tasks:
        values = _sides(runs, None if entry is None else entry.get(task.id), _value(task.id))
        if sum(map(len, values)) > 2:
            error = errors.tasks.get(task.id, 0.0)
            tasks[task.id] = _record(_compared(values, error, limits, SeedSpread(), less=task.less_is_better), values)
    verdict = _verdict(found, limits, own_scale=entry is not None)
    undecided = verdict is AuditVerdict.UNDECIDED
    needed = seeds_needed(found, limits, spread, both=entry is None) if undecided else None
    return Findings(_record(found, scores), tasks, verdict, needed)


_Sides = tuple[list[float], list[float]]


def _sides(runs: Sequence[AuditRun], entry: float | None, value: Callable[[AuditRun], float]) -> _Sides:
    by_arm = {arm: [value(run) for run in runs if run.arm is arm] for arm in Arm}
    subset, random = by_arm[Arm.SUBSET], by_arm[Arm.RANDOM]
    if entry is not None:
        if random or not subset:
            raise ValidationFailedError("runs: at the entry's own scale all are on its subset.")
        return [entry], subset
    if len(random) != len(subset) or not subset:
        raise ValidationFailedError("runs: at a smaller scale there are as many on random subsets as on the entry's.")
    return subset, random


def _value(task: str) -> Callable[[AuditRun], float]:
    def value(run: AuditRun) -> float:
        if task not in run.tasks:
            raise ValidationFailedError(f"runs: the one of seed {run.seed} has no value of task {task!r}.")
        return run.tasks[task]

    return value


def _compared(sides: _Sides, error: float, bar: Bar, known: SeedSpread, *, less: bool) -> Comparison:
    try:
        return compare(*sides, error, bar, known, less_is_better=less)
    except ValueError as problem:
        raise ValidationFailedError(f"runs: {problem}.", hint="Train with two seeds or more.") from problem


def _record(found: Comparison, sides: _Sides) -> AuditComparison:
    try:
        return AuditComparison(
            value=sum(sides[0]) / len(sides[0]),
            mean=sum(sides[1]) / len(sides[1]),
            gain=found.gain,
            margin=found.margin,
            seed_sd=found.seed_sd,
            evaluation_error=found.evaluation_error,
            degrees=found.degrees,
        )
    except ValidationError as error:
        raise ValidationFailedError("runs: their values are beyond all bounds.") from error


def _bar(bar: AuditBar) -> Bar:
    try:
        return Bar(bar.confidence, bar.tolerance, bar.resolution)
    except ValueError as error:
        raise ValidationFailedError(f"bar: {error}.") from error


def _verdict(found: Comparison, bar: Bar, *, own_scale: bool) -> AuditVerdict:
    if found.beyond_chance:
        return AuditVerdict.EXCEEDS if own_scale else AuditVerdict.ABOVE_RANDOM
    if found.margin > bar.resolution:
        return AuditVerdict.UNDECIDED
    return AuditVerdict.CONFIRMED if own_scale else AuditVerdict.NOT_ABOVE_RANDOM
