"""A pool of worker processes that knows which task each of them holds, so that a killed worker is never a hang."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import connection
from types import TracebackType
from typing import Any, Self

from competition.data.outcome import HOST, Failure, Outcome, WorkerDiedError, answer, described, outcome

_DEATH_ADVICE = {
    -signal.SIGKILL: "; signal 9 often means that memory ran out",
    1: "; in a script of your own, make the call under `if __name__ == '__main__':`",
}


@dataclass
class _Worker:
    process: Any
    channel: connection.Connection
    task: str | None = None


class WorkerPool:
    """At most ``size`` processes, each with one task at a time and its own pipe.

    A dead worker shows as the end of its pipe: its task is reported as a ``Failure`` and the next submit starts a new
    process. Standard pools cannot say which task a dead worker held, and some wait for it for ever.

    Args:
        function: picklable; called with each submitted task.
        size: processes at most.
    """

    def __init__(self, function: Callable[[Any], Any], size: int) -> None:
        methods = multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        self._function = function
        self._size = size
        self._workers: list[_Worker] = []

    @property
    def busy(self) -> bool:
        """A submitted task has not been answered yet."""
        return any(worker.task is not None for worker in self._workers)

    @property
    def free(self) -> bool:
        """There is room for another task."""
        return sum(worker.task is not None for worker in self._workers) < self._size

    def submit(self, name: str, task: Any) -> None:
        """Give a task to an idle worker, starting one if need be."""
        worker = next((worker for worker in self._workers if worker.task is None), None) or self._start()
        worker.task = name
        # A worker that died while idle: wait() sees the end of its pipe and reports the task.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.channel.send((name, task))

    def wait(self) -> Iterator[tuple[str, Outcome]]:
        """Block until at least one worker answered or died; yields (task name, outcome)."""
        ready = connection.wait([worker.channel for worker in self._workers])
        for worker in [worker for worker in self._workers if worker.channel in ready]:
            name = worker.task
            try:
                found = outcome(*worker.channel.recv())
            except (EOFError, ConnectionResetError):
                found = Failure(self._bury(worker))
            worker.task = None
            if name is not None:
                yield name, found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers: idle ones by closing their pipe, busy ones (after an error here) by terminating them."""
        for worker in self._workers:
            worker.channel.close()
            if worker.task is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
        self._workers.clear()

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._function), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _bury(self, worker: _Worker) -> WorkerDiedError:
        self._workers.remove(worker)
        worker.channel.close()
        worker.process.join()
        code = worker.process.exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return WorkerDiedError(f"the worker process {how}{_DEATH_ADVICE.get(code, '')}")


def one_thread_a_worker() -> contextlib.AbstractContextManager[Any]:
    """Worker processes share the processors already: products with a thread for each of them would slow all down."""
    if multiprocessing.parent_process() is None or find_spec("threadpoolctl") is None:
        return contextlib.nullcontext()
    limits: contextlib.AbstractContextManager[Any] = import_module("threadpoolctl").threadpool_limits(1)
    return limits


def _work(channel: connection.Connection, function: Callable[[Any], Any]) -> None:
    """A worker's life: answer tasks until the pipe closes, which also happens when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    while True:
        try:
            _, task = channel.recv()
        except EOFError:
            return
        reply = answer(function, task)
        try:
            channel.send(reply)
        except OSError:  # the parent is gone
            return
        except Exception as error:  # noqa: BLE001 - the result cannot be pickled, which the parent must hear
            channel.send(("error", described(error), 0.0, HOST))
