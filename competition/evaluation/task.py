"""One task of a suite, from its set to its result."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch

from competition.errors import EvaluationError
from competition.evaluation.class_results import class_results
from competition.evaluation.locked_set import set_digest
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.peak_memory import peak_bytes, start_measuring
from competition.evaluation.protocols import Case, Subject, run_protocol
from competition.evaluation.protocols.case import Notes
from competition.evaluation.sets import CACHE_FOLDER
from competition.records.evaluation import Interval, Outcomes, TaskResult
from competition.rules.protocols import UNBOUNDED
from competition.rules.suites import Suite, Task
from competition.statistics import bootstrap_replicates, clopper_pearson, percentile_interval


def evaluate_task(subject: Subject, task: Task, suite: Suite, root: Path) -> TaskResult:
    """Evaluate one task whose set lies below ``root``; decoded images are kept in ``root/.decoded``.

    Raises:
        EvaluationError: the set is absent, damaged, or not the one that the task names.
    """
    start = time.perf_counter()
    device = torch.device("cpu") if subject.encoder is None else subject.encoder.device
    start_measuring(device)
    case = _case(task, root)
    outcome = run_protocol(subject, case)
    images = outcome.samples + case.notes.unreadable
    if task.samples is not None and images != task.samples:
        raise EvaluationError(
            f"The evaluation set {task.dataset!r} has {images} images instead of {task.samples}.",
            hint="Get or build the evaluation sets again.",
        )
    value, components = _value(outcome, task), outcome.components.get(task.metric, ())
    seconds = time.perf_counter() - start
    return TaskResult(
        task=task.id,
        metric=task.metric,
        value=value,
        interval=_interval(outcome, task, suite),
        metrics=dict(outcome.metrics),
        samples=outcome.samples,
        unreadable=case.notes.unreadable,
        set_digest=case.notes.set_digest,
        seconds=seconds,
        images_per_second=outcome.samples / seconds,
        peak_memory_bytes=peak_bytes(device),
        classes=class_results(outcome.classes, case.notes.class_names),
        units=outcome.units.get(task.metric),
        outcomes=tuple(Outcomes.encode(component) for component in components),
    )


def _case(task: Task, root: Path) -> Case:
    """The task with its set, which is there and the one that is meant."""
    folder, cache = root / task.dataset, root / CACHE_FOLDER
    if not folder.is_dir():
        raise EvaluationError(
            f"The evaluation set {task.dataset!r} of task {task.id!r} is not in {root}.",
            hint="Get it with `datacup evalsets download` or `prepare`, or point to the sets' folder with --data-dir.",
        )
    return Case(task, folder, cache, Notes(set_digest=set_digest(root, task, cache)))


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
