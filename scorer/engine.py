"""Where the tasks of a claim are evaluated: in a process of this machine, or on a cluster (``ray_evaluation``)."""

from __future__ import annotations

from typing import Protocol

from competition.rules import EntryKind, find_track
from scorer.children import Bounds, Children
from scorer.devices import Devices
from scorer.evaluation import EvaluateRequest
from scorer.guard import Guard
from scorer.namespaces import Access
from scorer.settings import ScorerSettings
from scorer.task_process import Listener, TaskWork, evaluate_tasks

# Decoded evaluation sets are written too, and may be far larger than any file of an entry.
CACHE_FILE_BYTES = 2**40


class EvaluationEngine(Protocol):
    """Evaluates the tasks of a request, in whatever order and place."""

    def evaluate(self, work: TaskWork, listener: Listener, guard: Guard) -> None:
        """Returns when every task has a result that ``listener`` took.

        The caller has the job's lease; ``guard`` says when to end: at once, or after what runs.

        Raises:
            RejectionError: the entry is at fault.
            EngineError: a process or node failed, or the guard wants an end.
            StorageError: a node lacks a file, or a disk is about to be full.
        """
        ...


class LocalEngine:
    """All tasks in one process of this machine, one after the other, on a GPU of their own if there is any."""

    def __init__(self, children: Children, settings: ScorerSettings) -> None:
        self._children = children
        self._devices = Devices.of_this_machine(children, bounds_of(settings, settings.start_seconds))

    def evaluate(self, work: TaskWork, listener: Listener, guard: Guard) -> None:
        """See ``EvaluationEngine.evaluate``."""
        if not uses_gpu(work.request):
            evaluate_tasks(self._children, work, listener, guard.check, guard.check_between_tasks)
            return
        with self._devices.lease(guard.check) as device:
            given = TaskWork(work.request.model_copy(update={"device": device}), work.bounds, work.access)
            evaluate_tasks(self._children, given, listener, guard.check, guard.check_between_tasks)


def uses_gpu(request: EvaluateRequest) -> bool:
    """Whether there is a model to run: predictions are only counted."""
    return find_track(request.competition, request.track).entry is not EntryKind.PREDICTIONS


def bounds_of(
    settings: ScorerSettings, step: float, file_bytes: int = CACHE_FILE_BYTES, opening: float | None = None
) -> Bounds:
    """The limits of a process, as the operator set them."""
    return Bounds(
        start=settings.start_seconds,
        step=step,
        memory_bytes=settings.memory_bytes,
        file_bytes=file_bytes,
        scratch_bytes=settings.scratch_bytes,
        tasks=settings.max_tasks,
        free_bytes=settings.free_bytes,
        opening=opening,
    )


def task_work(request: EvaluateRequest, settings: ScorerSettings) -> TaskWork:
    """An evaluation with all that its process may use: it reads mirror and sets, and writes decoded images."""
    inputs = (settings.mirror_root, settings.evaluation_root, *settings.further_folders)
    access = Access(readable=inputs, writable=(settings.decoded_root,))
    return TaskWork(request, bounds_of(settings, settings.task_seconds, opening=settings.start_seconds), access)
