"""Zero-shot classification with prompt ensembles (CLIP_benchmark's protocol, DataComp's settings)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from competition.evaluation import metrics
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.sets import ClassificationSet

LOGIT_SCALE = 100.0
_METRICS = ("acc1", "acc5", "mean_per_class_recall")
_SMALLEST_LENGTH = np.float32(1e-12)


def text_classifier(encoder: ClipEncoder, class_names: Sequence[str], templates: Sequence[str]) -> NDArray[np.float32]:
    """Class weights [D, C]: the mean of a class's normalised prompt embeddings, normalised again."""
    prompts = [template.replace("{c}", name) for name in class_names for template in templates]
    embedded = encoder.encode_texts(prompts).reshape(len(class_names), len(templates), -1)
    means = embedded.mean(axis=1)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    weights: NDArray[np.float32] = means / np.maximum(lengths, _SMALLEST_LENGTH)
    return weights.T


def class_logits(encoder: ClipEncoder, data: ClassificationSet) -> NDArray[np.float32]:
    """100 x cosine [N, C] of every image with every class."""
    classifier = text_classifier(encoder, data.class_names, data.templates)
    logits: NDArray[np.float32] = LOGIT_SCALE * (encoder.encode_images(data.images) @ classifier)
    return logits


def evaluate(encoder: ClipEncoder, data: ClassificationSet) -> ProtocolOutcome:
    """acc1, acc5 (from 5 classes on) and mean per-class recall (over the classes that occur).

    Raises:
        EvaluationError: the model yields features that are not finite.
    """
    ranks = metrics.ranks(class_logits(encoder, data), data.labels)
    right = (ranks < 1).astype(np.float64)
    components = {"acc1": (right,), "mean_per_class_recall": tuple(metrics.per_class(right, data.labels))}
    if len(data.class_names) >= 5:
        components["acc5"] = ((ranks < 5).astype(np.float64),)
    values = {name: metrics.mean_of_means(components[name]) if name in components else None for name in _METRICS}
    return ProtocolOutcome(len(data.labels), values, components, proportions=frozenset({"acc1", "acc5"}))
