"""Zero-shot classification with prompt ensembles (CLIP_benchmark's protocol, DataComp's settings)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from competition.canonical import digest
from competition.evaluation import metrics
from competition.evaluation.classification import outcome_of_ranks
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.sets import ClassificationSet

LOGIT_SCALE = 100.0
_SMALLEST_LENGTH = np.float32(1e-12)
_PROMPTS_AT_A_TIME = 8192
_LOGITS_AT_A_TIME = 1 << 24


def text_classifier(encoder: ClipEncoder, class_names: Sequence[str], templates: Sequence[str]) -> NDArray[np.float32]:
    """Class weights [D, C]: the mean of a class's normalised prompt embeddings, normalised again.

    Computed once for one encoder and the same prompts.
    """
    key = digest([list(class_names), list(templates)])
    return encoder.memory.once("classifier", key, lambda: _text_classifier(encoder, class_names, templates))


def _text_classifier(encoder: ClipEncoder, class_names: Sequence[str], templates: Sequence[str]) -> NDArray[np.float32]:
    at_a_time = max(1, _PROMPTS_AT_A_TIME // len(templates))
    means = []
    for start in range(0, len(class_names), at_a_time):
        names = class_names[start : start + at_a_time]
        prompts = [template.replace("{c}", name) for name in names for template in templates]
        means.append(encoder.encode_texts(prompts).reshape(len(names), len(templates), -1).mean(axis=1))
    weights: NDArray[np.float32] = np.concatenate(means)
    weights /= np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), _SMALLEST_LENGTH)
    return weights.T


def class_logits(encoder: ClipEncoder, data: ClassificationSet) -> NDArray[np.float32]:
    """100 x cosine [N, C] of every image with every class."""
    return np.concatenate(list(_logit_blocks(encoder, data)))


def _logit_blocks(encoder: ClipEncoder, data: ClassificationSet) -> Iterator[NDArray[np.float32]]:
    """Logits [B, C] of the images in order, a bounded number at a time."""
    classifier = text_classifier(encoder, data.class_names, data.templates)
    features = encoder.encode_images(data.images, key=data.key)
    rows = max(1, _LOGITS_AT_A_TIME // classifier.shape[1])
    for start in range(0, len(features), rows):
        yield LOGIT_SCALE * (features[start : start + rows] @ classifier)


def evaluate(encoder: ClipEncoder, data: ClassificationSet) -> ProtocolOutcome:
    """acc1, acc5 (from 5 classes on) and mean per-class recall (over the classes that occur).

    Raises:
        EvaluationError: the model yields features that are not finite.
    """
    parts, start = [], 0
    for logits in _logit_blocks(encoder, data):
        parts.append(metrics.ranks(logits, data.labels[start : start + len(logits)]))
        start += len(logits)
    return outcome_of_ranks(np.concatenate(parts), data.labels, len(data.class_names))
