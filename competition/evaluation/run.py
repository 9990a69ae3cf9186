"""Running a suite: the same function for participants and for the scorer, so that their numbers agree."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from competition import __version__
from competition.errors import UsageError
from competition.evaluation.devices import default_devices, evaluate_spread
from competition.evaluation.entrants import Entrant, TrainedModel
from competition.evaluation.entry_images import EntryImages
from competition.evaluation.peak_memory import device_name
from competition.evaluation.sets import ensure_sets
from competition.evaluation.shares import shares
from competition.evaluation.task import evaluate_task
from competition.records.evaluation import EvaluationReport, TaskResult
from competition.rules.models import Competition
from competition.rules.recipes import Recipe
from competition.rules.suites import Suite, Task

__all__ = ["ResultCallback", "evaluate", "evaluate_suite", "evaluate_task"]

ResultCallback = Callable[[TaskResult], None]


def evaluate_suite(  # noqa: PLR0913 - what is evaluated under which rules, and where the results go
    model: Path,
    competition: Competition,
    recipe: Recipe,
    root: Path,
    *,
    only: Collection[str] | None = None,
    images: EntryImages | None = None,
    done: Sequence[TaskResult] = (),
    on_result: ResultCallback | None = None,
    device: torch.device | None = None,
) -> EvaluationReport:
    """Evaluate a run's model on the tasks of the competition's suite; see ``evaluate``.

    Args:
        model: safetensors file of the recipe's model.
        competition: whose suite is run.
        recipe: what the model was trained with; the architecture comes from here.
        root: folder of the evaluation sets.
        only: ids of the tasks to run; all when absent.
        images: that the entry consists of, for tasks about them.
        done: results that are taken over.
        on_result: called with every new result.
        device: all GPUs, or the CPU, when absent.
    """
    return evaluate(
        TrainedModel(recipe, model, images),
        competition.suite,
        root,
        competition=competition.id,
        only=only,
        done=done,
        on_result=on_result,
        devices=(device,) if device is not None else (),
    )


def evaluate(  # noqa: PLR0913 - what is evaluated under which rules, and where the results go
    entrant: Entrant,
    suite: Suite,
    root: Path,
    *,
    competition: str | None = None,
    only: Collection[str] | None = None,
    done: Sequence[TaskResult] = (),
    on_result: ResultCallback | None = None,
    devices: Sequence[torch.device] = (),
) -> EvaluationReport:
    """Evaluate an entrant on the tasks of a suite, in the suite's precision; it is loaded once on each device.

    On one device tasks run in this process, one after the other. On several, each has a process, and tasks on
    different evaluation sets run beside each other.

    Args:
        entrant: a run's model, a reference model, or predictions.
        suite: what is run.
        root: folder of the evaluation sets; sets that are made from code are built when absent.
        competition: whose run the entrant is; nothing for a reference model.
        only: ids of the tasks to run; all when absent.
        done: results that are taken over instead of being computed again.
        on_result: called with every new result.
        devices: all GPUs, or the CPU, when there are none.

    Raises:
        EvaluationError: the model or a set cannot be evaluated. Results so far went to ``on_result``.
        UsageError: ``only`` names a task that the suite does not have.
    """
    results = {result.task: result for result in done}
    tasks = [task for task in _chosen(suite, only) if task.id not in results]
    where = tuple(devices) or default_devices()
    named = entrant.named()

    def keep(result: TaskResult) -> None:
        results[result.task] = result
        if on_result is not None:
            on_result(result)

    if tasks:
        ensure_sets(suite.id, root)
        # More processes than sets would have nothing to do; one is not worth its start.
        used = where[: len(shares(tasks))]
        if len(used) > 1:
            evaluate_spread(entrant, suite, tasks, root, used, keep)
        else:
            subject = entrant.load(used[0], suite.precision, root)
            for task in tasks:
                keep(evaluate_task(subject, task, suite, root))
    return _report(suite, competition, named, where[0], results)


def _report(
    suite: Suite, competition: str | None, named: dict[str, str], device: torch.device, results: dict[str, TaskResult]
) -> EvaluationReport:
    fields = {
        "competition": competition,
        "suite": suite.reference,
        "suite_digest": suite.digest,
        **named,
        "precision": suite.precision,
        "device": device_name(device),
        "results": tuple(results[task.id] for task in suite.tasks if task.id in results),
        "code_version": __version__,
        "finished_at": datetime.now(UTC),
    }
    return EvaluationReport.model_validate(fields)


def _chosen(suite: Suite, only: Collection[str] | None) -> list[Task]:
    known = {task.id for task in suite.tasks}
    unknown = sorted(set(only or ()) - known)
    if unknown:
        raise UsageError(
            f"Suite {suite.reference} has no task {unknown[0]!r}.", hint=f"Its tasks are: {', '.join(sorted(known))}."
        )
    return [task for task in suite.tasks if only is None or task.id in only]
