"""Running a suite: the same function for participants and for the scorer, so that their numbers agree."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from competition import __version__
from competition.data.digests import file_sha256
from competition.errors import EvaluationError, UsageError
from competition.evaluation.entry_images import EntryImages
from competition.evaluation.fixed_models import MODELS_FOLDER, FixedModels
from competition.evaluation.image_encoders import load_recipe_model
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols import Case, Subject, run_protocol
from competition.evaluation.sets import CACHE_FOLDER, ensure_sets
from competition.records.evaluation import EvaluationReport, Interval, Outcomes, TaskResult
from competition.rules.models import Competition
from competition.rules.protocols import EXECUTABLE, UNBOUNDED
from competition.rules.recipes import Recipe
from competition.rules.suites import Suite, Task
from competition.statistics import bootstrap_replicates, clopper_pearson, percentile_interval

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
    """Evaluate a model on the tasks of the competition's suite; the model is loaded once.

    Args:
        model: safetensors file of the recipe's model.
        competition: whose suite is run.
        recipe: what the model was trained with; the architecture comes from here.
        root: folder of the evaluation sets; sets that are made from code are built when absent.
        only: ids of the tasks to run; all when absent.
        images: that the entry consists of, for tasks about them.
        done: results that are taken over instead of being computed again.
        on_result: called with every new result.
        device: the first GPU, or the CPU, when absent.

    Raises:
        EvaluationError: the model or a set cannot be evaluated. Results so far went to ``on_result``.
        UsageError: ``only`` names a task that the suite does not have.
    """
    suite = competition.suite
    results = {result.task: result for result in done}
    tasks = [task for task in _chosen(suite, only) if task.id not in results]
    if tasks:
        ensure_sets(suite.id, root)
        fixed = FixedModels(root / MODELS_FOLDER, device)
        subject = Subject(load_recipe_model(recipe, model, device), images, fixed=fixed)
        for task in tasks:
            results[task.id] = evaluate_task(subject, task, suite, root)
            if on_result is not None:
                on_result(results[task.id])
    return EvaluationReport(
        competition=competition.id,
        suite=suite.reference,
        suite_digest=suite.digest,
        recipe=recipe.id,
        recipe_digest=recipe.digest,
        model_sha256=file_sha256(model),
        images_digest=None if images is None else images.digest,
        results=tuple(results[task.id] for task in suite.tasks if task.id in results),
        code_version=__version__,
        finished_at=datetime.now(UTC),
    )


def evaluate_task(subject: Subject, task: Task, suite: Suite, root: Path) -> TaskResult:
    """Evaluate one task whose set lies below ``root``; decoded images are kept in ``root/.decoded``.

    Raises:
        EvaluationError: the set is absent, damaged, or not the one that the task names, or the task's protocol is not
            available in this version.
    """
    start = time.perf_counter()
    outcome = _run_protocol(subject, task, root)
    if task.samples is not None and outcome.samples != task.samples:
        raise EvaluationError(
            f"The evaluation set {task.dataset!r} has {outcome.samples} images instead of {task.samples}.",
            hint="Get or build the evaluation sets again.",
        )
    components = outcome.components.get(task.metric, ())
    return TaskResult(
        task=task.id,
        metric=task.metric,
        value=_value(outcome, task),
        interval=_interval(outcome, task, suite),
        metrics=dict(outcome.metrics),
        samples=outcome.samples,
        seconds=time.perf_counter() - start,
        outcomes=tuple(Outcomes.encode(component) for component in components),
    )


def _run_protocol(subject: Subject, task: Task, root: Path) -> ProtocolOutcome:
    if task.protocol not in EXECUTABLE:
        available = ", ".join(sorted(protocol.value for protocol in EXECUTABLE))
        raise EvaluationError(
            f"Task {task.id!r} needs the protocol {task.protocol.value}, which this version of DataCup cannot run.",
            hint=f"The task stays unscored. Protocols that run are: {available}.",
        )
    folder, cache = root / task.dataset, root / CACHE_FOLDER
    if not folder.is_dir():
        raise EvaluationError(
            f"The evaluation set {task.dataset!r} of task {task.id!r} is not in {root}.",
            hint="Get it with `datacup evalsets download` or `prepare`, or point to the sets' folder with --data-dir.",
        )
    return run_protocol(subject, Case(task, folder, cache))


def _value(outcome: ProtocolOutcome, task: Task) -> float:
    value = outcome.metrics.get(task.metric)
    if value is None:
        raise EvaluationError(f"The metric {task.metric!r} of task {task.id!r} is not defined on its evaluation set.")
    if not math.isfinite(value) or (task.metric not in UNBOUNDED and not 0.0 <= value <= 1.0):
        kind = "a finite number" if task.metric in UNBOUNDED else "a share between 0 and 1"
        raise EvaluationError(f"The metric {task.metric!r} of task {task.id!r} is {value:g} instead of {kind}.")
    return value


def _interval(outcome: ProtocolOutcome, task: Task, suite: Suite) -> Interval | None:
    components = outcome.components.get(task.metric, ())
    if not components:
        return None
    if task.metric in outcome.proportions:
        low, high = clopper_pearson(int(components[0].sum()), len(components[0]))
        return Interval(low=low, high=high, method="clopper-pearson")
    low, high = percentile_interval(bootstrap_replicates(components, seed_text=suite.digest))
    if task.metric not in UNBOUNDED:
        # Images with more captions than others weigh more, so a resample may hold more than the whole.
        low, high = max(0.0, low), min(1.0, high)
    return Interval(low=low, high=high, method="bootstrap")


def _chosen(suite: Suite, only: Collection[str] | None) -> list[Task]:
    known = {task.id for task in suite.tasks}
    unknown = sorted(set(only or ()) - known)
    if unknown:
        raise UsageError(
            f"Suite {suite.reference} has no task {unknown[0]!r}.", hint=f"Its tasks are: {', '.join(sorted(known))}."
        )
    return [task for task in suite.tasks if only is None or task.id in only]
