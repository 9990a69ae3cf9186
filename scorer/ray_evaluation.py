"""The tasks of a claim spread over the nodes of a Ray cluster.

The claim stays with this process: it alone speaks to the leaderboard, renews the lease and hands in results, in the
order in which they come. A node is sent tasks that share an evaluation set, starts a sandboxed process of its own for
them (``scorer.task_process``, as on one machine), and sends back what came of it; no credential reaches a node. Ray
counts the GPUs, and lends each to one task at a time.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from competition import __version__
from competition.data.engine import Needs
from competition.data.outcome import HOST, Done, Outcome, WorkerDiedError
from competition.data.ray_cluster import connect
from competition.data.ray_engine import Room, collect
from competition.data.ray_task import Origin, run_on_node
from competition.errors import DataCupError, EngineError, RejectionError, StorageError
from competition.evaluation.shares import shares
from competition.records.evaluation import TaskResult
from scorer.children import Children
from scorer.engine import uses_gpu
from scorer.guard import Guard
from scorer.mirror import Mirror
from scorer.sandbox import scrubbed_environment
from scorer.settings import ScorerSettings
from scorer.task_process import Listener, TaskWork, evaluate_tasks

_TRIES = 3
"""How often tasks are given to a node whose worker then dies."""
_LOOK_S = 0.1
_MARGIN_S = 120.0
_FILE_PATIENCE_S = 5.0
"""How long a file may be absent on a node: network file systems show new files late."""


@dataclass(frozen=True)
class Order:
    """What a node is sent."""

    work: TaskWork
    insecure: bool
    gpus: int


class RayEngine:
    """See ``engine.EvaluationEngine``. One of these serves all workers of a scorer.

    Args:
        settings: ``task_gpus`` and ``task_cpus`` are what a task occupies.
        address: see ``ray_cluster.connect``.
        insecure: nodes that cannot isolate a process score without isolation, instead of refusing.
    """

    def __init__(self, settings: ScorerSettings, address: str | None = None, *, insecure: bool = False) -> None:
        self._settings = settings
        self._insecure = insecure
        # A cluster that is started here and now inherits the environment of this process: not its tokens, though.
        with scrubbed_environment("RAY_"):
            self._ray: Any = connect(address, None, extra="scorer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cluster; what this process still has running there ends."""
        self._ray.shutdown()

    def evaluate(self, work: TaskWork, listener: Listener, guard: Guard) -> None:
        """See ``EvaluationEngine.evaluate``. Tasks whose node or process is lost are given to another node.

        Raises:
            RejectionError: the entry is at fault; the rest is cancelled.
            StorageError: a node lacks a file, as above.
            EngineError: a task failed, or its worker died on every try; tasks that ran meanwhile were finished first.
        """
        needs = self._needs(work)
        order = Order(_for_nodes(work, needs), self._insecure, needs.gpus)
        _Run(self._ray, order, needs, listener, guard).run()

    def _needs(self, work: TaskWork) -> Needs:
        gpus = self._settings.task_gpus
        if gpus is None:
            gpus = int(any(node["Alive"] and node["Resources"].get("GPU", 0) >= 1 for node in self._ray.nodes()))
        return Needs(cpus=self._settings.task_cpus, gpus=gpus if uses_gpu(work.request) else 0)


def _for_nodes(work: TaskWork, needs: Needs) -> TaskWork:
    return replace(work, request=work.request.model_copy(update={"threads": needs.cpus, "device": None}))


class _Run:
    """One claim's evaluation: what waits, what runs where, and why it ends."""

    def __init__(self, ray: Any, order: Order, needs: Needs, listener: Listener, guard: Guard) -> None:
        request, bounds = order.work.request, order.work.bounds
        self._ray = ray
        self._listener = listener
        self._guard = guard
        self._waiting = deque(shares([request.competition.suite.task(task) for task in request.tasks]))
        self._running: dict[Any, tuple[str, ...]] = {}
        self._losses: Counter[tuple[str, ...]] = Counter()
        self._failure: DataCupError | None = None
        self._room = Room(ray, needs, None, "evaluating an entry", ahead=1)
        # A worker serves many tasks: it has imported what evaluates, and never touches a GPU itself.
        occupied = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "max_retries": 0, "max_calls": 0}
        self._remote = ray.remote(**occupied)(run_on_node)
        origin = Origin(Path("/"), __version__, (request.evaluation,))
        self._shared = [ray.put(value) for value in (evaluate_on_node, origin)]
        self._order = order
        # Nothing here waits for ever: the longest share, after starting and loading, and a while in Ray's queue.
        most = max(map(len, self._waiting), default=0)
        self._patience = 2 * bounds.start + (bounds.opening or 0.0) + most * bounds.step + _MARGIN_S
        self._heard = time.monotonic()

    def run(self) -> None:
        """Raises what ended it, after what ran; entry's faults and missing files end everything at once."""
        try:
            while self._running or (self._waiting and self._failure is None):
                self._guard.check()
                self._hand_out()
                self._hear()
        finally:
            for reference in self._running:
                self._ray.cancel(reference, force=True)
        if self._failure is not None:
            raise self._failure

    def _hand_out(self) -> None:
        try:
            while self._waiting and self._failure is None and len(self._running) < self._room.tasks():
                self._guard.check_between_tasks()
                tasks = self._waiting.popleft()
                request = self._order.work.request.model_copy(update={"tasks": tasks})
                order = replace(self._order, work=replace(self._order.work, request=request))
                reference = self._remote.remote(self._shared[0], order, (), self._shared[1])
                self._running[reference] = tasks
                self._heard = time.monotonic()
                self._listener.started(tasks[0])
        except EngineError as error:
            # Somebody wants an end, or no node is left: what runs may still be done in time.
            self._failure = error

    def _hear(self) -> None:
        if not self._running:
            return
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_LOOK_S)
        for reference in done:
            self._heard = time.monotonic()
            tasks = self._running.pop(reference)
            self._take(tasks, collect(self._ray, reference))
        if time.monotonic() - self._heard > self._patience:
            raise EngineError(
                f"Nothing came back from the Ray cluster for {self._patience:.0f} s.",
                hint="Is it busy with other work, or out of reach? `ray status` shows it.",
            )

    def _take(self, tasks: tuple[str, ...], outcome: Outcome) -> None:
        if isinstance(outcome, Done):
            told = [(TaskResult.model_validate_json(raw), gap) for raw, gap in outcome.result]
            if sorted(result.task for result, _ in told) != sorted(tasks):
                raise EngineError(f"Node {outcome.host} sent results of other tasks than it was asked for.")
            for result, gap in told:
                self._listener.finished(result, gap)
            return
        error = outcome.error
        if isinstance(error, RejectionError | StorageError):
            raise error
        if isinstance(error, WorkerDiedError) and self._losses[tasks] + 1 < _TRIES:
            self._losses[tasks] += 1
            self._waiting.append(tasks)
        elif self._failure is None:
            self._failure = error if isinstance(error, DataCupError) else _given_up(tasks, error)


def _given_up(tasks: tuple[str, ...], error: Exception) -> EngineError:
    failure = EngineError(
        f"Task {', '.join(tasks)!r} could not be evaluated on the Ray cluster: {error}.",
        hint="Ray's logs on the nodes (by default under /tmp/ray) may say more.",
    )
    failure.__cause__ = error
    return failure


# --- on a node -------------------------------------------------------------------------------------------------------


class _Node:
    """What a worker of Ray keeps from task to task: the server that its processes are forked from."""

    secure = Children()
    insecure = Children(insecure=True)


class _Collected:
    """Hears what a process says and keeps it: results travel together when it is done."""

    def __init__(self) -> None:
        self.results: list[tuple[TaskResult, float | None]] = []

    def started(self, task: str) -> None:
        """Told when the task was handed out."""

    def finished(self, result: TaskResult, reported_gap: float | None) -> None:
        """Keep a result."""
        self.results.append((result, reported_gap))


def evaluate_on_node(order: Order) -> list[tuple[str, float | None]]:
    """Runs in a Ray worker, which reads nothing of an entry: results as JSON, each with the gap to the entry's report.

    Raises what ``evaluate_tasks`` raises, with this node's name.
    """
    children = _Node.insecure if order.insecure else _Node.secure
    told = _Collected()
    request = order.work.request.model_copy(update=_device(order.gpus))
    try:
        _obtain(request.mirror, request.judged_sha256)
        evaluate_tasks(children, replace(order.work, request=request), told, _go_on, _go_on)
    except (EngineError, StorageError) as error:
        error.message = f"On node {HOST}: {error.message}"
        raise
    return [(result.model_dump_json(), gap) for result, gap in told.results]


def _device(gpus: int) -> dict[str, Any]:
    """The GPU that Ray has lent to this task, if it has: the process to come was not there when Ray named it."""
    if not gpus:
        return {"device": None, "visible": ""}
    return {"device": 0, "visible": os.environ.get("CUDA_VISIBLE_DEVICES")}


def _obtain(mirror: Path, sha256: str) -> None:
    """The entry's file must lie in the mirror of this node before a process without a network asks for it.

    A mirror that can fetch from somewhere would do so here.
    """
    path, deadline = Mirror(mirror).path(sha256), time.monotonic() + _FILE_PATIENCE_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise StorageError(
                f"The mirror {mirror} has no file {sha256[:12]}, which belongs to the entry.",
                hint="Put DATACUP_MIRROR and DATACUP_EVALUATION on storage that all nodes share, under the same paths.",
            )
        time.sleep(_LOOK_S)


def _go_on() -> None:
    """Nobody asks here for an end: who has the claim cancels the task."""
