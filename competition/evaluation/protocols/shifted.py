"""Models with a trained head on images unlike those that they were trained on: what SELECT scores beside ImageNet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from competition.evaluation import classification, robustness
from competition.evaluation.decoding import Pixels
from competition.evaluation.image_encoders import ImageEncoder
from competition.evaluation.image_files import ImageFiles
from competition.evaluation.imagenet_c_set import Corrupted, list_corrupted
from competition.evaluation.images import Preparation
from competition.evaluation.model_classes import outputs_of
from competition.evaluation.objectnet_set import BORDER, list_objectnet
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject
from competition.evaluation.protocols.heads import headed_of, preparation_of
from competition.evaluation.protocols.reading import prepared
from competition.rules.protocols import Protocol

_IMAGES_AT_A_TIME = 1024


def _of_subset(subject: Subject, case: Case) -> ProtocolOutcome:
    """ImageNet-A, -R and -O: only the set's classes may be answered."""
    encoder = headed_of(subject, case.task)
    prepare = preparation_of(encoder, case.task)
    data = prepared(case, prepare)
    outputs = outputs_of(encoder.classes, case.folder, data.folders or data.class_names)
    logits = encoder.class_logits(data.images, key=data.key)
    if case.task.metric == "aupr":
        known = prepared(case, prepare, "val")
        return robustness.imagenet_o(encoder.class_logits(known.images, key=known.key)[:, outputs], logits[:, outputs])
    return robustness.masked(logits, data.labels, outputs)


def _objectnet(subject: Subject, case: Case) -> ProtocolOutcome:
    """Without the red border and without a margin, as EasyRobust (SELECT's program) prepares them."""
    encoder = headed_of(subject, case.task)
    data = list_objectnet(case.folder, encoder.classes)
    prepare, tolerance = preparation_of(encoder, case.task).uncut(BORDER), case.task.unreadable_tolerance
    images, key, missing = data.files.pixels(prepare, case.cache, tolerance)
    case.notes.class_names, case.notes.unreadable = data.folders, len(missing)
    labels = np.delete(data.labels, missing)
    return robustness.objectnet(encoder.class_logits(images, key=key), labels, data.mapping)


def _corrupted(subject: Subject, case: Case) -> ProtocolOutcome:
    """ImageNet-C; published at 224 pixels, so nothing is cut off.

    Its 3,750,000 images are decoded as they are needed and not kept: they would take half a terabyte.
    """
    encoder = headed_of(subject, case.task)
    prepare = preparation_of(encoder, case.task).uncut()
    right: dict[tuple[str, int], NDArray[np.bool_]] = {}
    outputs: NDArray[np.int64] | None = None
    for data in list_corrupted(case.folder):
        if outputs is None:
            outputs = outputs_of(encoder.classes, case.folder, data.classes)
        right[data.corruption, data.severity] = _answers(encoder, data, prepare) == outputs[data.labels]
    return robustness.imagenet_c(right)


def _answers(encoder: ImageEncoder, data: Corrupted, prepare: Preparation) -> NDArray[np.int64]:
    """The output [N] with the highest score."""
    found = [
        classification.first_choices(encoder.class_logits(images), len(images))
        for images in _some_at_a_time(data.files, prepare)
    ]
    return np.concatenate(found)


def _some_at_a_time(files: ImageFiles, prepare: Preparation) -> Iterator[Pixels]:
    """Prepared images uint8 [B, S, S, 3] in order."""
    waiting: list[Pixels] = []
    for block in files.blocks(prepare):
        waiting.append(block)
        if sum(map(len, waiting)) >= _IMAGES_AT_A_TIME:
            yield np.concatenate(waiting).transpose(0, 2, 3, 1)
            waiting = []
    if waiting:
        yield np.concatenate(waiting).transpose(0, 2, 3, 1)


EVALUATIONS: Mapping[Protocol, Evaluation] = {
    Protocol.CLASSIFICATION_OF_SUBSET: _of_subset,
    Protocol.CLASSIFICATION_OBJECTNET: _objectnet,
    Protocol.CLASSIFICATION_CORRUPTED: _corrupted,
}
