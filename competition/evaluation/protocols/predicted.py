"""Predictions that were made elsewhere, on sets whose labels alone are needed."""

from __future__ import annotations

from collections.abc import Mapping

from competition.errors import EvaluationError
from competition.evaluation import predictions
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject
from competition.evaluation.set_labels import load_set_labels
from competition.rules.predicted_sets import CLASSES, TestSetShape
from competition.rules.protocols import Protocol


def _predicted(subject: Subject, case: Case) -> ProtocolOutcome:
    """The entry's five best classes of every sample against the labels (ImageNetV2, arXiv 1902.10811)."""
    task = case.task
    if subject.predictions is None:
        raise EvaluationError(
            f"Task {task.id!r} asks for predictions, and the entry has none.",
            hint="Score a file of predictions: `datacup evaluate --predictions FILE --suite SUITE`.",
        )
    told = task.settings.get(CLASSES)
    known = load_set_labels(case.folder, None if told is None else int(told), case.cache)
    if task.samples is not None and len(known.labels) != task.samples:
        # Otherwise sound predictions would be called ones of a wrong shape.
        raise EvaluationError(
            f"The evaluation set {task.dataset!r} has {len(known.labels)} labels instead of {task.samples}.",
            hint="Get or build the evaluation sets again.",
        )
    shape = TestSetShape(len(known.labels), known.classes)
    top5 = predictions.read_set(subject.predictions, task.dataset, shape)
    return predictions.score(top5, known.labels, known.classes, task.dataset)


EVALUATIONS: Mapping[Protocol, Evaluation] = {Protocol.PREDICTIONS: _predicted}
