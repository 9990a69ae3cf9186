"""Map a function over shards: with how many workers, retried, resumed, with progress, and failing loudly.

Nothing else in DataCup fans work out over shards. ``Engine`` is the interface; ``LocalEngine`` runs processes on this
machine, ``ray_engine.RayEngine`` those of a Ray cluster. Functions and tasks travel by pickling, results come back
whole, and journalled results are JSON.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from competition.data.journal import Journal
from competition.data.outcome import Outcome, Outcomes, attempt
from competition.data.task_run import Conduct, TaskRun
from competition.errors import EngineError, UsageError
from competition.progress import ProgressHook

T = TypeVar("T")
R = TypeVar("R")


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


ONE_CORE = Needs()


class Engine(Protocol):
    """Runs one function over many named tasks."""

    def map(
        self,
        function: Callable[[T], R],
        tasks: Mapping[str, T],
        *,
        stage: str,
        needs: Needs = ONE_CORE,
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

    def gpu_count(self) -> int:
        """GPUs that there are for tasks that need one.

        Raises:
            EngineError: the cluster cannot be reached.
        """
        ...


class LocalEngine:
    """Processes on this machine, or threads of this one where a task's ``Needs`` allow it; one worker is this process.

    Workers are started by a fork server (spawned where the system has none), never forked from this process: a fork
    would copy the locks of torch's, polars' and Arrow's threads in whatever state they are, and can hang. The price is
    that a worker imports its modules again.

    Args:
        workers: tasks at a time, at least 1.
        retries: how often a task is tried again after a failure that is not a user's error, or a worker's death.
        gpus: how many GPUs there are for tasks that need one.
        log: see ``Conduct``.
    """

    def __init__(self, workers: int = 1, *, retries: int = 1, gpus: int = 0, log: Path | None = None) -> None:
        if workers < 1:
            raise UsageError(f"The number of workers is {workers}; it must be at least 1.")
        self.workers = workers
        self.gpus = gpus
        self._conduct = Conduct(retries, log)

    def map(
        self,
        function: Callable[[T], R],
        tasks: Mapping[str, T],
        *,
        stage: str,
        needs: Needs = ONE_CORE,
        journal: Journal | None = None,
        progress: ProgressHook | None = None,
    ) -> dict[str, R]:
        """See ``Engine.map``."""
        run = TaskRun(tasks, stage, self._conduct, journal, progress)
        workers = min(self._width(needs, stage), run.waiting)
        if workers <= 1:
            outcomes = _in_process(function, tasks, run)
        else:
            outcomes = (_in_threads if needs.threads else _in_pool)(function, tasks, run, workers)
        with contextlib.closing(outcomes):
            for name, outcome in outcomes:
                run.note(name, outcome)
        return run.finish()

    def gpu_count(self) -> int:
        """As many as it was told."""
        return self.gpus

    def _width(self, needs: Needs, stage: str) -> int:
        if needs.gpus > self.gpus:
            raise EngineError(
                f"Each task of {stage} needs {needs.gpus} GPU(s) and {self.gpus} are at hand.",
                hint="Run it on a machine with more GPUs.",
            )
        by_gpu = self.gpus // needs.gpus if needs.gpus else self.workers
        return max(1, min(self.workers // max(1, needs.cpus), by_gpu))


Workers = int | Engine
"""How many tasks at a time on this machine, or the engine that runs them."""


def engine_of(workers: Workers) -> Engine:
    """The engine that ``workers`` means.

    Raises:
        UsageError: fewer than one worker.
    """
    return LocalEngine(workers) if isinstance(workers, int) else workers


def _in_process(function: Callable[[T], R], tasks: Mapping[str, T], run: TaskRun) -> Outcomes:
    while run.open:
        name = run.take()
        yield name, attempt(function, tasks[name])


def _in_threads(function: Callable[[T], R], tasks: Mapping[str, T], run: TaskRun, workers: int) -> Outcomes:
    running: dict[Future[Outcome], str] = {}
    with ThreadPoolExecutor(workers) as pool:
        while run.open or running:
            while run.open and len(running) < workers:
                name = run.take()
                running[pool.submit(attempt, function, tasks[name])] = name
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


def _in_pool(function: Callable[[T], R], tasks: Mapping[str, T], run: TaskRun, workers: int) -> Outcomes:
    from competition.data.workers import WorkerPool  # with multiprocessing, of which threads have no need

    with WorkerPool(function, workers) as pool:
        while run.open or pool.busy:
            while run.open and pool.free:
                name = run.take()
                pool.submit(name, tasks[name])
            yield from pool.wait()
