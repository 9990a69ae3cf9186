"""Map a function over shards: with how many workers, retried, resumed, with progress, and failing loudly.

Nothing else in DataCup fans work out over shards. ``Engine`` is the interface; ``LocalEngine`` runs processes on this
machine. Other implementations (a cluster) take the same calls: functions and tasks travel by pickling, results come
back whole, and journalled results are JSON.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from competition.data.journal import Journal
from competition.data.workers import Failure, WorkerPool
from competition.errors import DataCupError, EngineError, StorageError, UsageError
from competition.progress import Progress, ProgressHook

T = TypeVar("T")
R = TypeVar("R")

FAILURE_LIMIT = 16
"""Failed tasks after which no further task is started: more of them would say nothing new."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What one task occupies while it runs.

    Args:
        cpus: processor cores.
        gpus: GPUs.
        threads: the function spends its time in code that leaves the interpreter to others (Arrow's reading, numpy's
            sorting): threads serve it as well as processes do, and need no start.
    """

    cpus: int = 1
    gpus: int = 0
    threads: bool = False


class Engine(Protocol):
    """Runs one function over many named tasks."""

    def map(
        self,
        function: Callable[[T], R],
        tasks: Mapping[str, T],
        *,
        stage: str,
        needs: Needs = Needs(),
        journal: Journal | None = None,
        progress: ProgressHook | None = None,
    ) -> dict[str, R]:
        """Results by task name, in the order of ``tasks``, whatever order they finished in.

        Args:
            function: picklable (a module-level function, or ``functools.partial`` of one), safe to run twice.
            tasks: picklable arguments by unique name; the name appears in messages and in the journal.
            stage: what is being done, in words, for progress and messages.
            needs: what one task occupies.
            journal: finished tasks are recorded here and not run again; results must then be JSON.
            progress: called in this process after every finished task, and once at the start.

        Raises:
            DataCupError: a task met a user's error; type, message and hint are the worker's. The other tasks were
                finished first and are in the journal (a ``StorageError`` stops at once).
            EngineError: a task failed otherwise, or its worker died, on every attempt; names the tasks and the cause.
        """
        ...


@dataclass
class _Run:
    """The state of one ``map`` call."""

    results: dict[str, Any]
    waiting: deque[str]
    attempts: dict[str, int] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        """No further task shall start."""
        return len(self.failures) >= FAILURE_LIMIT or any(
            isinstance(f.error, StorageError) for f in self.failures.values()
        )


class LocalEngine:
    """Processes on this machine, or threads of this one where a task's ``Needs`` allow it; one worker is this process.

    Workers are started by a fork server (spawned where the system has none), never forked from this process: a fork
    would copy the locks of torch's, polars' and Arrow's threads in whatever state they are, and can hang. The price is
    that a worker imports its modules again.

    Args:
        workers: tasks at a time, at least 1.
        retries: how often a task is tried again after a failure that is not a user's error, or a worker's death.
        gpus: how many GPUs there are for tasks that need one.
    """

    def __init__(self, workers: int = 1, *, retries: int = 1, gpus: int = 0) -> None:
        if workers < 1:
            raise UsageError(f"The number of workers is {workers}; it must be at least 1.")
        self.workers = workers
        self.retries = retries
        self.gpus = gpus

    def map(
        self,
        function: Callable[[T], R],
        tasks: Mapping[str, T],
        *,
        stage: str,
        needs: Needs = Needs(),
        journal: Journal | None = None,
        progress: ProgressHook | None = None,
    ) -> dict[str, R]:
        """See ``Engine.map``."""
        completed = {name: result for name, result in (journal.completed if journal else {}).items() if name in tasks}
        run = _Run(dict(completed), deque(name for name in tasks if name not in completed))

        def report(task: str = "") -> None:
            if progress is not None:
                progress(Progress(stage, len(run.results), len(tasks), len(completed), task))

        report()
        workers = min(self._width(needs, stage), len(run.waiting))
        if workers <= 1:
            outcomes = _in_process(function, tasks, run)
        else:
            outcomes = (_in_threads if needs.threads else _in_pool)(function, tasks, run, workers)
        with contextlib.closing(outcomes):
            for name, outcome in outcomes:
                if isinstance(outcome, Failure):
                    self._note_failure(run, name, outcome)
                    continue
                if journal is not None:
                    journal.record(name, outcome)
                run.results[name] = outcome
                report(name)
        if run.failures:
            raise _failure(stage, run, list(tasks))
        return {name: run.results[name] for name in tasks}

    def _width(self, needs: Needs, stage: str) -> int:
        if needs.gpus > self.gpus:
            raise EngineError(
                f"Each task of {stage} needs {needs.gpus} GPU(s) and {self.gpus} are at hand.",
                hint="Run it on a machine with more GPUs.",
            )
        by_gpu = self.gpus // needs.gpus if needs.gpus else self.workers
        return max(1, min(self.workers // max(1, needs.cpus), by_gpu))

    def _note_failure(self, run: _Run, name: str, failure: Failure) -> None:
        run.attempts[name] = run.attempts.get(name, 0) + 1
        if isinstance(failure.error, DataCupError) or run.attempts[name] > self.retries:
            run.failures[name] = failure
        else:
            run.waiting.append(name)


def _in_process(
    function: Callable[[T], R], tasks: Mapping[str, T], run: _Run
) -> Generator[tuple[str, Any], None, None]:
    while run.waiting and not run.stopped:
        name = run.waiting.popleft()
        yield name, _attempt(function, tasks[name])


def _in_threads(
    function: Callable[[T], R], tasks: Mapping[str, T], run: _Run, workers: int
) -> Generator[tuple[str, Any], None, None]:
    running: dict[Future[Any], str] = {}
    with ThreadPoolExecutor(workers) as pool:
        while (run.waiting and not run.stopped) or running:
            while run.waiting and not run.stopped and len(running) < workers:
                name = run.waiting.popleft()
                running[pool.submit(_attempt, function, tasks[name])] = name
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


def _attempt(function: Callable[[T], R], task: T) -> Any:
    try:
        return function(task)
    except Exception as error:  # noqa: BLE001 - retried, then raised with the task's name
        return Failure(error)


def _in_pool(
    function: Callable[[T], R], tasks: Mapping[str, T], run: _Run, workers: int
) -> Generator[tuple[str, Any], None, None]:
    with WorkerPool(function, workers) as pool:
        while (run.waiting and not run.stopped) or pool.busy:
            while run.waiting and not run.stopped and pool.free:
                name = run.waiting.popleft()
                pool.submit(name, tasks[name])
            yield from pool.wait()


def _failure(stage: str, run: _Run, order: list[str]) -> Exception:
    """The error of a run with failures: the first one's own if it is a user's error, else one that names the tasks."""
    failed = [name for name in order if name in run.failures]
    first = next((name for name in failed if isinstance(run.failures[name].error, DataCupError)), failed[0])
    cause = run.failures[first].error
    left = len(order) - len(run.results) - len(failed)
    if isinstance(cause, DataCupError):
        others = [name for name in failed if name != first]
        if others:
            cause.hint = f"{cause.hint} {len(others)} more failed: {_names(others)}.".strip()
        return cause
    error = EngineError(
        f"{len(failed)} of {len(order)} tasks failed while {stage}: {_names(failed)}; "
        f"the first cause is {type(cause).__name__}: {cause}.",
        hint="Finished tasks are kept; run the same command again." + (f" {left} were not started." if left else ""),
    )
    error.__cause__ = cause
    return error


def _names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
