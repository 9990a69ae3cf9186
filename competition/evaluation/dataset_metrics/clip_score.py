"""CLIP score: how well images fit their texts, and GenBench's choice of the best generated images of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation.dataset_metrics.features import (
    Features,
    Floats,
    Integers,
    class_labels,
    require_every_class,
    require_same_dimensions,
)

SCALE = 100.0
CLIP_S_WEIGHT = 2.5


def clip_scores(
    images: NDArray[Any] | Features, texts: NDArray[Any] | Features, labels: Sequence[int] | NDArray[Any]
) -> Floats:
    """100 times the cosine of every image with its text, float64 (images,); a dataset's CLIP score is the mean.

    GenBench's and CLIP's logit. It may be negative; for Hessel et al.'s see ``clip_s``.

    Args:
        images: (images, dimensions), of any length but 0.
        texts: (texts, dimensions); GenBench's are of "a photo of a {class}", from CLIP ViT-B/16.
        labels: number of each image's text.

    Raises:
        EvaluationError: dimensions do not fit, or an image has no text.
        ModelOutputError: a row that is zero or not finite.
    """
    shown, said = Features.of(images, "the set of image features"), Features.of(texts, "the set of text features")
    require_same_dimensions(shown, said)
    numbers = class_labels(labels, shown, said.rows)
    directions = said.directions().every()
    scores = np.empty(shown.rows)
    for start, block in shown.directions().blocks():
        wanted = directions[numbers[start : start + len(block)]]
        scores[start : start + len(block)] = SCALE * np.einsum("ij,ij->i", block, wanted)
    return scores


def clip_s(scores: Floats) -> Floats:
    """Hessel et al.'s CLIP-S (2021) of scores as above: 2.5 times the cosine, and 0 where that is negative."""
    weighted: Floats = CLIP_S_WEIGHT * np.maximum(scores / SCALE, 0)
    return weighted


def best_of_each_class(scores: NDArray[Any], labels: Integers, classes: int, keep: int) -> tuple[Integers, ...]:
    """Numbers of the images with the greatest scores, class by class, best first; of equal scores the earlier.

    Args:
        scores: floats (images,).
        labels: the images' classes, (images,).
        classes: how many there are.
        keep: images of a class; of a class that has fewer, all of them.

    Raises:
        EvaluationError: ``keep`` below 1, an empty class, a score that is not finite, or lengths that differ.
    """
    values = Features.of(np.asarray(scores)[:, None], "the list of scores")
    numbers = class_labels(labels, values, classes)
    if keep < 1:
        raise EvaluationError(f"The best {keep} images of a class are none.", hint="Keep at least one.")
    require_every_class(numbers, classes, values.name)
    order = np.lexsort((-values.values[:, 0].astype(np.float64), numbers))
    starts = np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=classes))])
    return tuple(order[starts[each] : starts[each + 1]][:keep].astype(np.int64) for each in range(classes))
