"""The tasks of a scoring job that have no result yet: the one place from which progress and results are handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from competition.errors import EngineError
from competition.records.evaluation import TaskResult
from competition.records.scoring import JobGrant, ResultReport, ResultTakenOver, StageReport

Notify = Callable[..., None]
"""``notify(event, **detail)``: something worth a line happened."""


class Desk(Protocol):
    """Where a job's progress is handed in: the leaderboard's client, or whoever wants the results."""

    def report_stage(self, grant: JobGrant, message: StageReport) -> None:
        """Say which stage the work has entered."""

    def report_result(self, grant: JobGrant, message: ResultReport) -> None:
        """Hand in the result of one task."""

    def take_over_result(self, grant: JobGrant, message: ResultTakenOver) -> None:
        """Say that a task of a re-scoring keeps its older result."""


class OpenTasks:
    """Results may come in any order, from any process; each task is begun and handed in once under an attempt.

    What evaluates is believed about the numbers and about nothing else: a result must be of a task that is open.
    """

    def __init__(self, client: Desk, grant: JobGrant, notify: Notify, tasks: Iterable[str]) -> None:
        self._client = client
        self._grant = grant
        self._notify = notify
        self._left = dict.fromkeys(tasks)
        self._begun: set[str] = set()

    @property
    def left(self) -> tuple[str, ...]:
        """Those without a result, in the suite's order."""
        return tuple(self._left)

    def started(self, task: str) -> None:
        """A task's evaluation begins; told once, though it may begin again elsewhere."""
        if task in self._left and task not in self._begun:
            self._begun.add(task)
            self._client.report_stage(self._grant, StageReport(attempt=self._grant.attempt, stage=task))
            self._notify("stage", stage=task)

    def finished(self, result: TaskResult, reported_gap: float | None) -> None:
        """Hand in a result, before anything else is done (raises ``EngineError`` unless its task is open)."""
        if result.task not in self._left:
            raise EngineError(f"A process of the scorer sent a result of {result.task[:64]!r}, which is not open.")
        report = ResultReport(attempt=self._grant.attempt, result=result, reported_gap=reported_gap)
        self._client.report_result(self._grant, report)
        del self._left[result.task]
        self._notify("task", task=result.task, metric=result.metric, value=result.value, seconds=result.seconds)
        if reported_gap is not None:
            self._notify("reported_gap", task=result.task, gap=reported_gap)
