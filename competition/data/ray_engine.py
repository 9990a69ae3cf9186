"""The engine on a Ray cluster, loaded when first used. ``ray_cluster`` and ``scorer.ray_evaluation`` know Ray too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from competition.data.engine import ONE_CORE, Needs
from competition.data.journal import Journal
from competition.data.outcome import Failure, Outcome, Outcomes, WorkerDiedError, WorkerError, outcome
from competition.data.ray_cluster import connect
from competition.data.ray_task import Origin, existing_paths, run_on_node
from competition.data.task_run import Conduct, TaskRun
from competition.errors import EngineError, UsageError
from competition.progress import ProgressHook

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2
"""Tasks handed to the cluster for each that it can run: nodes find the next one there, and the rest costs nothing."""

_LOOK_SECONDS = 10.0
"""How often a run looks at the cluster's nodes."""

_LOST_SECONDS = 60.0
"""How long a run waits for a node that could run its tasks, once there is none left."""


class RayEngine:
    """Tasks on the nodes of a Ray cluster, each of which must see the same files under the same paths.

    The cluster is reached at the first ``map`` with a task to run, and left by ``close``. Retries are DataCup's, not
    Ray's, so that a task is tried as often, journalled and reported as on one machine.

    Args:
        address: see ``ray_cluster.connect``.
        workers: tasks at a time at most; ``None``: as many as the cluster has room for.
        retries: as for ``LocalEngine``; a node that is lost costs each of its tasks one.
        log: see ``Conduct``.
    """

    def __init__(
        self, address: str | None = None, workers: int | None = None, *, retries: int = 3, log: Path | None = None
    ) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"The number of workers is {workers}; it must be at least 1.")
        self._address = address
        self._workers = workers
        self._conduct = Conduct(retries, log)
        self._ray: Any = None

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
        """See ``Engine.map``.

        Raises:
            StorageError: a node does not see a file of the run; names both.
            EngineError: also when the cluster cannot be reached, or no node of it can run such a task.
        """
        run = TaskRun(tasks, stage, self._conduct, journal, progress)
        if run.open:
            self._connect()
            shared = (*existing_paths(function), *(() if journal is None else (journal.path,)))
            with contextlib.closing(self._outcomes(function, tasks, run, needs, Origin.here(shared))) as outcomes:
                for name, found in outcomes:
                    run.note(name, found)
        return run.finish()

    def gpu_count(self) -> int:
        """Those of all nodes that are alive; this machine's count only where it is one of them."""
        return sum(int(resources.get("GPU", 0)) for resources in _alive(self._connect()))

    def close(self) -> None:
        """Leave the cluster; one that was started for this engine ends."""
        if self._ray is not None:
            self._ray.shutdown()
            self._ray = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self) -> Any:
        if self._ray is None:
            self._ray = connect(self._address, self._workers)
        return self._ray

    def _outcomes(
        self, function: Callable[[T], R], tasks: Mapping[str, T], run: TaskRun, needs: Needs, origin: Origin
    ) -> Outcomes:
        ray = self._ray
        room = Room(ray, needs, self._workers, run.stage)
        occupied = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "max_retries": 0}
        remote = ray.remote(run_on_node)
        # Once, not with every task: what is bound to a function may be large.
        shared = [ray.put(value) for value in (function, origin)]
        running: dict[Any, str] = {}
        try:
            while run.open or running:
                while run.open and len(running) < room.tasks():
                    name = run.take()
                    paths = tuple(existing_paths(tasks[name]))
                    sent = remote.options(name=f"{run.stage}: {name}", **occupied)
                    running[sent.remote(shared[0], tasks[name], paths, shared[1])] = name
                for reference in _finished(ray, list(running), room):
                    yield running.pop(reference), collect(ray, reference)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


class Room:
    """How many tasks the cluster can hold, looked at now and then: nodes come and go.

    Args:
        ray: the module, connected.
        needs: of one task.
        most: tasks at a time at most.
        stage: what is being done, in words.
        ahead: tasks to hand out for each that there is room for.

    Raises:
        EngineError: no node can run such a task, or none has been able to for a minute.
    """

    def __init__(self, ray: Any, needs: Needs, most: int | None, stage: str, ahead: int = _AHEAD) -> None:
        self._ray = ray
        self._needs = needs
        self._most = most
        self._stage = stage
        self._ahead = ahead
        self._slots = self._count()
        self._seen = self._looked = time.monotonic()
        if not self._slots:
            raise self._none()

    def tasks(self) -> int:
        """Tasks to hand out at a time."""
        now = time.monotonic()
        if now - self._looked > _LOOK_SECONDS:
            self._slots, self._looked = self._count(), now
            if self._slots:
                self._seen = now
            elif now - self._seen > _LOST_SECONDS:
                raise self._none()
        return max(1, self._ahead * self._slots) if self._most is None else self._most

    def _count(self) -> int:
        return sum(self._fitting(resources) for resources in _alive(self._ray))

    def _fitting(self, resources: Mapping[str, float]) -> int:
        cpus = int(resources.get("CPU", 0)) // max(1, self._needs.cpus)
        return min(cpus, int(resources.get("GPU", 0)) // self._needs.gpus) if self._needs.gpus else cpus

    def _none(self) -> EngineError:
        gpus = f" and {self._needs.gpus} GPU(s)" if self._needs.gpus else ""
        return EngineError(
            f"Each task of {self._stage} needs {self._needs.cpus} processor core(s){gpus}, which no node of the Ray "
            "cluster has.",
            hint="Add such a node, then run the same command again: finished tasks are kept.",
        )


def _alive(ray: Any) -> list[Mapping[str, float]]:
    """What each node that is alive has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _finished(ray: Any, running: list[Any], room: Room) -> list[Any]:
    """Waits for at least one task."""
    while True:
        done, _ = ray.wait(running, num_returns=1, timeout=_LOOK_SECONDS)
        if done:
            return list(ray.wait(running, num_returns=len(running), timeout=0)[0])
        room.tasks()


def collect(ray: Any, reference: Any) -> Outcome:
    """What became of a task that was handed to the cluster (``ray_task.run_on_node``) and has ended."""
    try:
        return outcome(*ray.get(reference))
    except ray.exceptions.RayTaskError as error:
        # The task ran into nothing of its own (``answer`` takes that home): it could not be loaded, or its result sent.
        return Failure(WorkerError(f"the task or its result could not travel: {_first_line(error.cause or error)}"))
    except ray.exceptions.RayError as error:
        return Failure(WorkerDiedError(_first_line(error)))


def _first_line(error: BaseException) -> str:
    first, _, _ = str(error).strip().partition("\n")
    return first.rstrip(".") or type(error).__name__
