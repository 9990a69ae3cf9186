"""Linear classifiers of features: they judge the entry's model, or, in GenBench, the entry's images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation import zeroshot
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.entry_images import EntryImages
from competition.evaluation.features import LabelledFeatures, unit_rows
from competition.evaluation.fixed_models import CLIP_B32
from competition.evaluation.image_encoders import ImageEncoder
from competition.evaluation.images import Preparation
from competition.evaluation.linear_probe import protocols as probes
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Encoder, Evaluation, Subject, model_of
from competition.evaluation.protocols.entry import images_of
from competition.evaluation.protocols.reading import features, prepared, with_several_classes
from competition.evaluation.protocols.tuned import image_model_of
from competition.evaluation.set_classes import labels_among, set_classes
from competition.evaluation.sets import ClassificationSet
from competition.rules.protocols import Protocol

_SIMCORE_SIDES = (8, 7)
"""SimCore's shorter side to its crop's: 256 pixels to 224."""


def _clip_benchmark(subject: Subject, case: Case) -> ProtocolOutcome:
    """Of features of length 1; encoders without a text tower give features of any length."""
    encoder = model_of(subject, case.task)
    (train, classes), (test, _) = (features(encoder, case, split) for split in ("train", "test"))
    train, test = (LabelledFeatures(unit_rows(part.features), part.labels) for part in (train, test))
    return probes.clip_benchmark(train, test, classes, device=encoder.device).outcome


@dataclass(frozen=True, slots=True)
class _Probed:
    """What a probe of ELEVATER's is trained and tested on.

    Args:
        train: features as the model gives them, and labels.
        test: likewise.
        classes: how many there are.
        text_weights: the text classifier [D, C] that training starts from; none of models without a text tower.
        device: that computes.
    """

    train: LabelledFeatures
    test: LabelledFeatures
    classes: int
    text_weights: NDArray[np.float32] | None
    device: torch.device


def _elevater(subject: Subject, case: Case) -> ProtocolOutcome:
    """Of features as the model gives them; a CLIP model's classifiers start from its text classifier."""
    task = case.task
    probed = _of_entry(subject, case) if task.settings.get("train") == "entry" else _of_set(subject, case)
    shots = task.settings.get("shots")
    settings = probes.Elevater(
        task.metric,
        None if shots is None else int(shots),
        peeking=task.protocol is Protocol.LINEAR_PROBE_ELEVATER,
    )
    found = probes.elevater(
        probed.train, probed.test, probed.classes, settings, text_weights=probed.text_weights, device=probed.device
    )
    return found.outcome


def _of_set(subject: Subject, case: Case) -> _Probed:
    """The entry's model, probed on the set's own training images."""
    encoder = model_of(subject, case.task)
    prompts = isinstance(encoder, ClipEncoder)
    train, test = (with_several_classes(encoder, case, split, prompts=prompts) for split in ("train", "test"))
    weights = None
    if isinstance(encoder, ClipEncoder):
        weights = zeroshot.text_classifier(encoder, train.class_names, train.templates)
    return _Probed(_raw(encoder, train), _raw(encoder, test), len(train.class_names), weights, encoder.device)


def _of_entry(subject: Subject, case: Case) -> _Probed:
    """GenBench: the entry's images teach the classes, in features of its CLIP, and the test images are the set's.

    Where test images show several classes (VOC 2007), an image of the entry shows the one that it was made for.
    """
    images, encoder = images_of(subject, case.task), subject.fixed.clip(CLIP_B32)
    labels = labels_among(images, set_classes(case.folder, case.task.part))
    test = with_several_classes(encoder, case, prompts=True)
    classes = len(test.class_names)
    _require_every_class(images, labels, test.class_names)
    pixels, key = images.pixels(encoder.preparation, case.cache)
    if test.labels.ndim == 2:
        labels = np.eye(classes, dtype=np.int64)[labels]
    train = LabelledFeatures(encoder.raw_image_features(pixels, key=key), labels)
    weights = zeroshot.text_classifier(encoder, test.class_names, test.templates)
    return _Probed(train, _raw(encoder, test), classes, weights, encoder.device)


def _require_every_class(images: EntryImages, labels: NDArray[np.int64], names: Sequence[str]) -> None:
    absent = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0)
    if len(absent):
        raise EvaluationError(
            f"The entry {images.folder} has no image of class {names[absent[0]]!r} ({len(absent)} of {len(names)} "
            "classes have none), and a linear probe learns every class from images.",
            hint="Add images of these classes.",
        )


def _raw(encoder: Encoder, part: ClassificationSet) -> LabelledFeatures:
    if isinstance(encoder, ClipEncoder):
        return LabelledFeatures(encoder.raw_image_features(part.images, key=part.key), part.labels)
    return LabelledFeatures(encoder.encode_images(part.images, key=part.key), part.labels)


def _simcore(subject: Subject, case: Case) -> ProtocolOutcome:
    """Each epoch sees other random crops, through the network in evaluation mode.

    Crops are of the middle square of an image; SimCore's are of the whole.
    """
    encoder = image_model_of(subject, case.task)
    test, classes = features(encoder, case, "test")
    settings = probes.SimCore(peeking=True, metric=case.task.metric)
    above, below = _SIMCORE_SIDES
    train = prepared(case, Preparation(encoder.image_size * above // below, interpolation="bilinear"), "train")
    views = CroppedViews(encoder, train, settings.training.epochs, settings.seed)
    return probes.simcore(views, test, classes, settings, encoder.device).outcome


@dataclass(frozen=True, slots=True)
class CroppedViews(Sequence[LabelledFeatures]):
    """Features of random crops of a set's images; those of a view are computed when it is asked for.

    Args:
        encoder: computes them.
        images: larger than what the encoder takes.
        views: how many there are.
        seed: of the crops, with the view's number.
    """

    encoder: ImageEncoder
    images: ClassificationSet
    views: int
    seed: int

    def __len__(self) -> int:
        return self.views

    @overload
    def __getitem__(self, number: int) -> LabelledFeatures: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[LabelledFeatures]: ...
    def __getitem__(self, number: int | slice) -> LabelledFeatures | Sequence[LabelledFeatures]:
        if isinstance(number, slice):
            return [self[place] for place in range(*number.indices(self.views))]
        generator = np.random.default_rng((self.seed, range(self.views)[number]))
        found: NDArray[np.float32] = self.encoder.encode_crops(self.images.images, generator)
        return LabelledFeatures(found, self.images.labels)


EVALUATIONS: Mapping[Protocol, Evaluation] = {
    Protocol.LINEAR_PROBE: _elevater,
    Protocol.LINEAR_PROBE_ELEVATER: _elevater,
    Protocol.LINEAR_PROBE_CLIPBENCH: _clip_benchmark,
    Protocol.LINEAR_PROBE_SIMCORE: _simcore,
}
