"""Two evaluation reports compared unit by unit: which differences the images can tell from chance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.errors import UsageError
from competition.progress import Progress, ProgressHook
from competition.records.evaluation import EvaluationReport, TaskResult
from competition.rules.protocols import LESS_IS_BETTER, UNBOUNDED
from competition.statistics import bootstrap_replicates, mcnemar, percentile_interval
from participant_kit.comparison.cost import affordable_replicates
from participant_kit.comparison.reports import Floats, decoded

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class McNemar:
    """Units that only one of two entries is right about, and the exact p-value of their being equally good."""

    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """One task of two reports.

    Args:
        task: its id.
        metric: that is compared.
        first: value of the first report.
        second: of the second.
        interval: 95 % interval of first - second by the paired bootstrap; None where ``unpaired`` says why.
        mcnemar: where the metric is a share of units that are right or wrong, of the same units.
        unpaired: why the units of the two cannot be paired; empty where they can.
    """

    task: str
    metric: str
    first: float
    second: float
    interval: Interval | None
    mcnemar: McNemar | None
    unpaired: str = ""

    @property
    def difference(self) -> float:
        """First - second."""
        return self.first - self.second

    @property
    def better(self) -> str:
        """``first`` or ``second`` where the interval excludes 0, ``neither`` where it does not; empty without one."""
        return _better(self.interval, less_is_better=self.metric in LESS_IS_BETTER)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON."""
        return asdict(self) | {"difference": self.difference, "better": self.better}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two reports of one suite.

    Args:
        tasks: of both, in the first report's order.
        mean: difference of the means over all ``tasks``, and its interval; None for a single task, or where one of them
            has no interval, or where a mean says nothing: shares with distances, or distances of several kinds.
        only_first: tasks of the first report alone.
        only_second: of the second alone.
        replicates: how many resamples the intervals come from.
    """

    tasks: tuple[TaskComparison, ...]
    mean: tuple[float, Interval] | None
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    replicates: int

    @property
    def mean_better(self) -> str:
        """As ``TaskComparison.better``, of the mean."""
        # A mean has tasks of one direction.
        return _better(self.mean[1] if self.mean else None, less_is_better=self.tasks[0].metric in LESS_IS_BETTER)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON."""
        mean = self.mean and {"difference": self.mean[0], "interval": self.mean[1], "better": self.mean_better}
        return {
            "tasks": [task.as_json() for task in self.tasks],
            "mean": mean,
            "only_first": self.only_first,
            "only_second": self.only_second,
            "replicates": self.replicates,
        }


def compare_reports(
    first: EvaluationReport,
    second: EvaluationReport,
    places: tuple[Path, Path],
    progress: ProgressHook = lambda _progress: None,
) -> Comparison:
    """Compare two reports of one suite task by task, with the resamples that the leaderboard uses.

    Args:
        first: a report.
        second: another one.
        places: where they are, for messages.
        progress: hears of each task.

    Raises:
        UsageError: they are of different suites, have no task in common, or more units than can be resampled.
        DataFormatError: outcomes cannot be read.
    """
    if first.suite_digest != second.suite_digest:
        raise UsageError(
            f"The reports are of different suites: {first.suite} ({first.suite_digest[:12]}) and {second.suite} "
            f"({second.suite_digest[:12]}).",
            hint="Evaluate both runs with one suite.",
        )
    others = {result.task: result for result in second.results}
    common = [(result, others[result.task]) for result in first.results if result.task in others]
    if not common:
        raise UsageError("The reports have no task in common.", hint="Evaluate both runs with one suite.")
    replicates = affordable_replicates(common)
    tasks: list[TaskComparison] = []
    differences: list[Floats | None] = []
    for pair in common:
        progress(Progress("comparing tasks", len(tasks), len(common), task=pair[0].task))
        units = tuple(decoded(result, place) for result, place in zip(pair, places, strict=True))
        compared, difference = _compare_task(pair, (units[0], units[1]), first.suite_digest, replicates)
        tasks.append(compared)
        differences.append(difference)
    known = {task.task for task in tasks}
    return Comparison(
        tuple(tasks),
        _mean(tasks, differences),
        tuple(result.task for result in first.results if result.task not in known),
        tuple(result.task for result in second.results if result.task not in known),
        replicates,
    )


def _compare_task(
    results: tuple[TaskResult, TaskResult], units: tuple[list[Floats], list[Floats]], seed_text: str, replicates: int
) -> tuple[TaskComparison, NDArray[np.float64] | None]:
    first, second = results
    values = (first.task, first.metric, first.value, second.value)
    if first.metric != second.metric:
        raise UsageError(
            f"Task {first.task!r} has the metric {first.metric!r} in one report, {second.metric!r} in the other."
        )
    if first.set_digest and second.set_digest and first.set_digest != second.set_digest:
        return TaskComparison(*values, None, None, "the evaluation sets differ: their files have other bytes"), None
    if first.interval is None or second.interval is None:
        return TaskComparison(*values, None, None, "the metric has no independent units"), None
    if not units[0] or not units[1]:
        return TaskComparison(*values, None, None, "a report holds no outcomes"), None
    if first.units != second.units:
        groups = " and ".join(result.units or "unnamed ones" for result in results)
        return TaskComparison(*values, None, None, f"the values are of different units ({groups})"), None
    if [len(part) for part in units[0]] != [len(part) for part in units[1]]:
        return TaskComparison(*values, None, None, "the values are of different units"), None
    one, other = (bootstrap_replicates(parts, seed_text=seed_text, replicates=replicates) for parts in units)
    return TaskComparison(*values, percentile_interval(one - other), _mcnemar(*units)), one - other


def _mcnemar(first: list[Floats], second: list[Floats]) -> McNemar | None:
    if len(first) != 1 or not all(np.isin(units[0], (0.0, 1.0)).all() for units in (first, second)):
        return None
    right, other = first[0] == 1.0, second[0] == 1.0
    alone = int(np.count_nonzero(right & ~other)), int(np.count_nonzero(other & ~right))
    return McNemar(*alone, mcnemar(*alone))


def _mean(tasks: list[TaskComparison], differences: list[NDArray[np.float64] | None]) -> tuple[float, Interval] | None:
    replicates = [found for found in differences if found is not None]
    kinds = {(task.metric in LESS_IS_BETTER, task.metric if task.metric in UNBOUNDED else "") for task in tasks}
    if len(tasks) < 2 or len(replicates) < len(tasks) or len(kinds) > 1:
        return None
    mean = float(np.mean([task.difference for task in tasks]))
    return mean, percentile_interval(np.mean(replicates, axis=0))


def _better(interval: Interval | None, *, less_is_better: bool) -> str:
    if interval is None:
        return ""
    greater, smaller = ("second", "first") if less_is_better else ("first", "second")
    if interval[0] > 0:
        return greater
    return smaller if interval[1] < 0 else "neither"
