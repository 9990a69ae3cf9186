"""Models with a trained head, on sets of its classes."""

from __future__ import annotations

from collections.abc import Mapping

from competition.errors import EvaluationError
from competition.evaluation import classification
from competition.evaluation.image_encoders import ImageEncoder
from competition.evaluation.images import Preparation
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject, model_of
from competition.evaluation.protocols.reading import prepared
from competition.rules.protocols import Protocol
from competition.rules.suites import Task


def headed_of(subject: Subject, task: Task) -> ImageEncoder:
    """The entry's model, which answers classes by itself.

    Raises:
        EvaluationError: it is a CLIP model, or one without a classifier.
    """
    encoder = model_of(subject, task)
    if not isinstance(encoder, ImageEncoder):
        raise EvaluationError(
            "A CLIP model has no classes of its own.", hint="Evaluate it by zero-shot classification."
        )
    if not encoder.classes:
        raise EvaluationError(
            "The model has no classifier, so it answers no class by itself.",
            hint="Evaluate it by a probe or by its nearest neighbours.",
        )
    return encoder


def preparation_of(encoder: ImageEncoder, task: Task) -> Preparation:
    """How the task wants its images prepared, whatever the model was trained at; else the model's own preparation.

    Pixels are normalised as the model was trained in either case.

    Raises:
        EvaluationError: the network takes no images of that size.
    """
    given = task.settings
    if "size" not in given:
        return encoder.preparation
    size = int(given["size"])
    encoder.require_size(size)
    interpolation = str(given.get("interpolation", "bicubic"))
    return Preparation(size, resize=int(given.get("resize", size)), interpolation=interpolation)


def _classified(subject: Subject, case: Case) -> ProtocolOutcome:
    encoder = headed_of(subject, case.task)
    data = prepared(case, preparation_of(encoder, case.task))
    logits = encoder.class_logits(data.images, key=data.key)
    if logits.shape[1] != len(data.class_names):
        raise EvaluationError(
            f"The model knows {logits.shape[1]} classes, and the evaluation set has {len(data.class_names)}.",
            hint="Evaluate models that were trained on the classes of the set.",
        )
    return classification.score(logits, data.labels)


EVALUATIONS: Mapping[Protocol, Evaluation] = {Protocol.CLASSIFICATION: _classified}
