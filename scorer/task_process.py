"""One process that evaluates tasks of an entry, on one device, with a limit on the time that a task has the device.

The device belongs to the process for as long as it runs (``scorer.devices``, or Ray), so the time between the beginning
and the end of a task is the time that the task had the device: nothing else ran there, and waiting for it is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from competition.errors import EngineError
from competition.records.evaluation import TaskResult
from scorer import messages
from scorer.children import Bounds, Children, OverdueError
from scorer.evaluation import EvaluateRequest, evaluate_entry
from scorer.mirror import Mirror
from scorer.namespaces import Access


class Listener(Protocol):
    """Hears of the tasks as they go."""

    def started(self, task: str) -> None:
        """A task's evaluation begins."""
        ...

    def finished(self, result: TaskResult, reported_gap: float | None) -> None:
        """A task has a result, and the entry's own report says that much more or less, or nothing worth telling."""
        ...


@dataclass(frozen=True)
class TaskWork:
    """What is evaluated, and what the process may reach and use. ``bounds.step`` is the limit of a task, in seconds."""

    request: EvaluateRequest
    bounds: Bounds
    access: Access


def evaluate_tasks(
    children: Children, work: TaskWork, listener: Listener, check: Callable[[], None], between: Callable[[], None]
) -> None:
    """Evaluate the request's tasks in a process of its own.

    Args:
        children: starts the process.
        work: what and within which limits.
        listener: is told of every task at once.
        check: asked about ten times a second whether to go on.
        between: asked after every task but the last.

    Raises:
        RejectionError: the entry is at fault.
        EngineError: the process failed, or a task had its device for longer than it may. That is the platform's fault:
            architecture, evaluation set and protocol are ours, and no weights make them slower.
        StorageError: a disk is about to be full.
    """
    talk = _Talk(work, listener, between)
    try:
        children.run(
            evaluate_entry,
            work.request.model_dump_json(),
            work.bounds,
            access=work.access,
            on_message=talk.hear,
            guard=check,
        )
    except OverdueError as error:
        if talk.running is None:
            raise EngineError(f"The entry was not loaded after {error.seconds:g} s.") from error
        raise _too_long(talk.running, work.bounds.step) from error
    if talk.left:
        raise EngineError(f"The evaluating process ended without a result of {next(iter(talk.left))!r}.")


class _Talk:
    """What a process says, in the only order that it may: a stranger may have taken it over, and talk for ever."""

    def __init__(self, work: TaskWork, listener: Listener, between: Callable[[], None]) -> None:
        self.left = dict.fromkeys(work.request.tasks)
        self.running: str | None = None
        self._mirror = Mirror(work.request.mirror)
        self._limit = work.bounds.step
        self._listener = listener
        self._between = between
        self._began = 0.0
        self._any = False

    def hear(self, message: messages.Message) -> None:
        """Raises ``EngineError`` when it is out of turn or too late."""
        if isinstance(message, messages.Ready):
            return
        if isinstance(message, messages.Damaged):
            # Only here may the mirror be written; the word of a process that has read an entry is not enough.
            self._mirror.verified(message.sha256)
        elif isinstance(message, messages.TaskStarted) and self.running is None and message.task in self.left:
            if self._any:
                self._between()
            self.running, self._began = message.task, time.monotonic()
            self._listener.started(message.task)
        elif isinstance(message, messages.TaskFinished) and message.result.task == self.running:
            self._finish(message.result, message.reported_gap)
        else:
            raise EngineError("The evaluating process sent something out of turn.")

    def _finish(self, result: TaskResult, reported_gap: float | None) -> None:
        # What the process says of itself is believed up to what passed out here. Out here may be more: while the
        # leaderboard was away, the result waited.
        seconds = min(result.seconds, time.monotonic() - self._began)
        if seconds > self._limit:
            raise _too_long(result.task, self._limit)
        self._listener.finished(result.model_copy(update={"device_seconds": seconds}), reported_gap)
        self._any, self.running = True, None
        del self.left[result.task]


def _too_long(task: str, limit: float) -> EngineError:
    return EngineError(
        f"Task {task!r} was ended: it had its device for more than {limit:g} s.",
        hint="Raise DATACUP_TASK_SECONDS, or find out what slows this machine down.",
    )
