"""The entry's whole network, trained further on a labelled set.

SELECT and SimCore fine-tune image models alone, so CLIP models are refused. Each protocol prepares images at a size of
its own, whatever the entry was trained at; they are decoded once for all entries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from competition.errors import EvaluationError
from competition.evaluation.fine_tune import (
    SELECT_SANE,
    SIMCORE_SEMI_SUPERVISED,
    FineTuning,
    LabelledImages,
    fine_tune,
)
from competition.evaluation.image_encoders import ImageEncoder
from competition.evaluation.images import Preparation
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject, model_of
from competition.evaluation.protocols.reading import prepared
from competition.evaluation.select_transfer import LEGACY_PREPARATION, legacy_settings
from competition.rules.protocols import Protocol
from competition.rules.suites import Task

SELECT_PREFIX = "select-"
SIMCORE_SIDE = 256
"""Shorter side of SimCore's images: its centre of 224 pixels is tested, and random crops of it are trained on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model is trained, and how the images are prepared for it."""

    settings: FineTuning
    preparation: Preparation


def plan(encoder: ImageEncoder, task: Task) -> Plan:
    """What the task's protocol prescribes.

    Pixels are normalised as the entry's model was trained, but by the set's own statistics in SELECT's published
    protocol.

    Raises:
        EvaluationError: SELECT's published protocol has no statistics of the set.
    """
    mean, std = (_channels(values) for values in (encoder.statistics.mean, encoder.statistics.std))
    if task.protocol is Protocol.FINE_TUNE_SELECT:
        return Plan(legacy_settings(task.dataset.removeprefix(SELECT_PREFIX)), LEGACY_PREPARATION)
    if task.protocol is Protocol.FINE_TUNE:
        settings = replace(SELECT_SANE, mean=mean, std=std)
        return Plan(settings, Preparation(settings.image_size))
    share = float(task.settings.get("label_share", SIMCORE_SEMI_SUPERVISED.label_share))
    settings = replace(SIMCORE_SEMI_SUPERVISED, mean=mean, std=std, label_share=share)
    return Plan(settings, Preparation(SIMCORE_SIDE, interpolation="bilinear"))


def tuned(encoder: ImageEncoder, case: Case, chosen: Plan) -> ProtocolOutcome:
    """Train a copy of the encoder's network on the set's training part as planned, and test it.

    Raises:
        EvaluationError: the set is absent, damaged or cannot be trained on, or the network takes no such images.
        ModelOutputError: the training diverges.
    """
    train, test = (prepared(case, chosen.preparation, part) for part in ("train", "test"))
    network = encoder.trainable_copy(chosen.settings.image_size)
    return fine_tune(
        network,
        LabelledImages(train.images, train.labels),
        LabelledImages(test.images, test.labels),
        len(train.class_names),
        chosen.settings,
        encoder.device,
    )


def image_model_of(subject: Subject, task: Task) -> ImageEncoder:
    """The entry's model (raises ``EvaluationError`` where it is a CLIP model)."""
    encoder = model_of(subject, task)
    if not isinstance(encoder, ImageEncoder):
        raise EvaluationError(
            f"Task {task.id!r} trains with an image model, as SELECT and SimCore do, and the entry is a CLIP model.",
            hint="Evaluate it by linear probes, or by zero-shot classification.",
        )
    return encoder


def _tuned(subject: Subject, case: Case) -> ProtocolOutcome:
    encoder = image_model_of(subject, case.task)
    return tuned(encoder, case, plan(encoder, case.task))


def _channels(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


EVALUATIONS: Mapping[Protocol, Evaluation] = dict.fromkeys(
    (Protocol.FINE_TUNE, Protocol.FINE_TUNE_SELECT, Protocol.SEMI_SUPERVISED), _tuned
)
