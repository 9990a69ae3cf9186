"""SELECT's statistics: how the entry's samples are spread over the set's classes, and which the model confuses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from competition.errors import EvaluationError
from competition.evaluation.class_statistics import class_balance, class_scores
from competition.evaluation.classification import first_choices
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject
from competition.evaluation.protocols.entry import images_of
from competition.evaluation.protocols.heads import headed_of
from competition.evaluation.protocols.reading import labelled
from competition.evaluation.set_classes import labels_among, set_classes
from competition.rules.protocols import Protocol


def _counted(subject: Subject, case: Case) -> ProtocolOutcome:
    if case.task.metric == "confusion_skew":
        return _confused(subject, case)
    images, classes = images_of(subject, case.task), set_classes(case.folder, case.task.part)
    counts = np.bincount(labels_among(images, classes), minlength=len(classes.names))
    balance = class_balance(counts)
    values = {
        "coverage_classes": float(balance.coverage),
        "long_tail@500": float(balance.few),
        "large_share@5": balance.largest_share,
    }
    return ProtocolOutcome(len(images), values, {})


def _confused(subject: Subject, case: Case) -> ProtocolOutcome:
    """The mean over the classes with test images of the skews of their greatest confusions."""
    encoder = headed_of(subject, case.task)
    data = labelled(encoder, case)
    classes = len(data.class_names)
    if encoder.classes not in (0, classes):
        raise EvaluationError(
            f"The model knows {encoder.classes} classes, and the evaluation set has {classes}.",
            hint="Evaluate models that were trained on the classes of the set.",
        )
    answers = first_choices(encoder.class_logits(data.images, key=data.key), len(data.labels), classes)
    found = class_scores(data.labels, answers, classes)
    shown = np.bincount(data.labels, minlength=classes) > 0
    return ProtocolOutcome(len(data.labels), {"confusion_skew": float(found.skew[shown].mean())}, {})


EVALUATIONS: Mapping[Protocol, Evaluation] = {Protocol.CLASS_STATISTICS: _counted}
