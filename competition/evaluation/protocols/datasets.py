"""Metrics of datasets: the entry's images alone, or beside the test images; nothing is trained on the test images.

Each metric is of the features that its source takes (``fixed_models`` says whose), whatever the entry's model is. Means
over images have components; distances have none, since no part of them belongs to an image.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation.classification import outcome
from competition.evaluation.converted_models import INCEPTION_2015
from competition.evaluation.dataset_metrics.clip_iqa import PROMPT_PAIRS, clip_iqa
from competition.evaluation.dataset_metrics.clip_score import clip_scores
from competition.evaluation.dataset_metrics.cmmd import cmmd
from competition.evaluation.dataset_metrics.features import Features
from competition.evaluation.dataset_metrics.frechet import frechet_distance
from competition.evaluation.dataset_metrics.inception_score import inception_score
from competition.evaluation.dataset_metrics.kid import kernel_distance
from competition.evaluation.dataset_metrics.neighbourhoods import NEIGHBOURS, memberships
from competition.evaluation.dataset_metrics.proxy_a import proxy_a_distance
from competition.evaluation.fixed_models import (
    CLIP_B16,
    CLIP_B32,
    CLIP_L14_336,
    CLIP_RN50_WITHOUT_POSITIONS,
    VGG16,
)
from competition.evaluation.image_encoders import ImageEncoder
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject
from competition.evaluation.protocols.entry import entry_features, images_of
from competition.evaluation.protocols.reading import with_several_classes
from competition.evaluation.set_classes import labels_among, set_classes
from competition.rules.protocols import Protocol

CAPTION = "a photo of a {}"
"""GenBench's text of a class, for the CLIP score."""

IQA_PAIR = "quality"
"""CLIP-IQA's first pair, torchmetrics' default and so SELECT's."""

_MEMBERSHIP = ("precision", "recall", "density", "coverage")

SPACES: Mapping[str, str] = {
    "fid": CLIP_B32,
    "proxy_a_distance": CLIP_B32,
    "kid": INCEPTION_2015,
    "cmmd": CLIP_L14_336,
    **dict.fromkeys(_MEMBERSHIP, VGG16),
    "clip_score": CLIP_B16,
    "clip_iqa": CLIP_RN50_WITHOUT_POSITIONS,
    "inception_score": INCEPTION_2015,
}
"""Whose features each metric is of."""


def _measured(subject: Subject, case: Case) -> ProtocolOutcome:
    match case.task.metric:
        case "clip_score":
            return _clip_score(subject, case)
        case "clip_iqa":
            return _clip_iqa(subject, case)
        case "inception_score":
            return _inception_score(subject, case)
        case _:
            return _beside_test_images(subject, case)


def _beside_test_images(subject: Subject, case: Case) -> ProtocolOutcome:
    images, metric = images_of(subject, case.task), case.task.metric
    encoder = subject.fixed.encoder(SPACES[metric])
    real = with_several_classes(encoder, case)
    test = Features.of(encoder.encode_images(real.images, key=real.key), "the set of test images")
    entry = Features.of(entry_features(encoder, images, case), f"the entry {images.folder}")
    if metric in _MEMBERSHIP:
        return _memberships(test, entry)
    match metric:
        case "fid":
            value = frechet_distance(entry.directions(), test.directions()).value
        case "kid":
            value = kernel_distance(entry, test).value
        case "cmmd":
            value = cmmd(entry, test)
        case "proxy_a_distance":
            value = proxy_a_distance(entry, test).value
        case _:
            raise AssertionError(f"{metric} has a feature space and is not computed")
    return ProtocolOutcome(test.rows, {metric: value}, {})


def _memberships(test: Features, entry: Features) -> ProtocolOutcome:
    found = memberships(test, entry)
    parts: dict[str, NDArray[np.float64]] = {
        "precision": found.precise.astype(np.float64),
        "recall": found.recalled.astype(np.float64),
        "density": found.balls / NEIGHBOURS,
        "coverage": found.covered.astype(np.float64),
    }
    shares = frozenset(_MEMBERSHIP) - {"density"}
    return outcome(test.rows, {name: (part,) for name, part in parts.items()}, proportions=shares)


def _clip_score(subject: Subject, case: Case) -> ProtocolOutcome:
    images, encoder = images_of(subject, case.task), subject.fixed.clip(SPACES["clip_score"])
    classes = set_classes(case.folder, case.task.part)
    labels = labels_among(images, classes)
    texts = encoder.encode_texts([CAPTION.format(name) for name in classes.names])
    scores = clip_scores(entry_features(encoder, images, case), texts, labels)
    return outcome(len(images), {"clip_score": (scores,)})


def _clip_iqa(subject: Subject, case: Case) -> ProtocolOutcome:
    images, encoder = images_of(subject, case.task), subject.fixed.clip(SPACES["clip_iqa"])
    good, bad = encoder.encode_texts(PROMPT_PAIRS[IQA_PAIR])
    shares = clip_iqa(entry_features(encoder, images, case), good[None], bad[None])
    return outcome(len(images), {"clip_iqa": (shares[:, 0],)})


def _inception_score(subject: Subject, case: Case) -> ProtocolOutcome:
    images, encoder = images_of(subject, case.task), subject.fixed.encoder(SPACES["inception_score"])
    if not isinstance(encoder, ImageEncoder):
        raise EvaluationError(f"The model {SPACES['inception_score']} answers no classes.")
    pixels, key = images.pixels(encoder.preparation, case.cache)
    found = inception_score(encoder.class_logits(pixels, key=key))
    return ProtocolOutcome(len(images), {"inception_score": found.mean}, {})


EVALUATIONS: Mapping[Protocol, Evaluation] = {Protocol.DATASET_METRICS: _measured}
