"""How well scores order images: areas under ROC curves, and average precision in 11 points.

They are ELEVATER's metrics of hateful memes and of VOC 2007. Its 11-point precision is not quite VOC's: the curve
ends in precision 1 at recall 0 (as scikit-learn draws it), so that the eleventh point is always 1.

Scores are compared between images, so they have to be comparable: probabilities, not logits of a softmax, which mean
something within an image only.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from competition.errors import EmptySetError, EvaluationError, LabelRangeError, ModelOutputError

Scores = NDArray[np.floating]
Labels = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

_RECALLS = np.linspace(1, 0, 11)


def area_under_roc(scores: Scores, labels: Labels) -> float:
    """Area under the ROC curve: how often an image of the class has a greater score than another (ties count half).

    With two classes it is that of the second. With more it is the mean of the classes' areas, each against the rest,
    over the classes that occur (scikit-learn's ``multi_class="ovr"`` for probabilities).

    Args:
        scores: [N, C], comparable between images.
        labels: the class of each, int64 [N].

    Raises:
        EmptySetError: all images are of one class.
        LabelRangeError, EvaluationError: labels and scores do not fit together.
        ModelOutputError: a score is not finite.
    """
    flags = one_hot(labels, scores.shape[1])
    _check(scores, flags)
    if scores.shape[1] == 2:
        return _mean(areas(scores[:, 1:], flags[:, 1:]), "of another class")
    return _mean(areas(scores, flags), "of another class")


def mean_area_under_roc(scores: Scores, labels_matrix: Flags) -> float:
    """The mean of the areas of all columns of ``labels_matrix`` bool [N, C] that have images of both kinds.

    Raises what ``area_under_roc`` does.
    """
    _check(scores, labels_matrix)
    return _mean(areas(scores, labels_matrix), "of another class")


def mean_average_precision_11(scores: Scores, labels_matrix: Flags) -> float:
    """Mean over classes of the mean of the best precisions at recalls of at least 1, 0.9, …, 0.

    Args:
        scores: [N, C], comparable between images; images of equal scores are found together.
        labels_matrix: which images show which classes, bool [N, C]; classes that none shows are left out.

    Raises:
        EmptySetError: no image shows any class.
        EvaluationError: labels and scores do not fit together.
        ModelOutputError: a score is not finite.
    """
    _check(scores, labels_matrix)
    return _mean(average_precisions_11(scores, labels_matrix), "that shows a class")


def one_hot(labels: Labels, classes: int) -> Flags:
    """Bool [N, classes] of the classes [N] (raises ``LabelRangeError`` where one is none of them)."""
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise LabelRangeError(f"The labels of an evaluation set are not all below its {classes} classes.")
    flags: Flags = np.asarray(labels)[:, None] == np.arange(classes)
    return flags


def areas(scores: Scores, labels_matrix: Flags) -> Floats:
    """The area under the ROC curve of each column [C]; NaN where all images or none are of the class."""
    return np.array([_area(*columns) for columns in zip(scores.T, labels_matrix.T, strict=True)])


def average_precisions_11(scores: Scores, labels_matrix: Flags) -> Floats:
    """The 11-point average precision of each column [C]; NaN where no image is of the class."""
    return np.array([_average_precision(*columns) for columns in zip(scores.T, labels_matrix.T, strict=True)])


def pseudo_values(metric: Callable[[NDArray[np.int64]], float], images: int, whole: float) -> Floats:
    """What each group of images adds to a metric that is no mean: values whose mean is the metric's.

    The jackknife with deleted groups (Shao and Wu 1989), about as many groups as a group has images: with that also
    metrics with jumps, such as a best precision, have an honest standard error. Groups are every so-manieth image, the
    same for all models.

    Args:
        metric: of the images of the given rows, int64; NaN where it is not defined without the others.
        images: how many there are.
        whole: the metric of all.
    """
    groups = max(2, math.isqrt(images))
    numbers = np.arange(images) % groups
    without = np.array([metric(np.flatnonzero(numbers != group)) for group in range(groups)])
    without = np.where(np.isnan(without), whole, without)
    values: Floats = whole + (groups - 1) * (without.mean() - without)
    return values


def _area(scores: Scores, positive: Flags) -> float:
    """By ranks (Mann and Whitney), of equal scores the middle one."""
    count = int(np.count_nonzero(positive))
    others = len(positive) - count
    if not count or not others:
        return math.nan
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = ends - (counts - 1) / 2
    return float((middle[inverse][positive].sum() - count * (count + 1) / 2) / (count * others))


def _average_precision(scores: Scores, positive: Flags) -> float:
    count = int(np.count_nonzero(positive))
    if not count:
        return math.nan
    order = np.argsort(-scores, kind="stable")
    found, descending = np.cumsum(positive[order]), scores[order]
    last = np.append(np.flatnonzero(np.diff(descending)), len(descending) - 1)  # of each run of equal scores
    recall = np.append(0.0, found[last] / count)
    precision = np.append(1.0, found[last] / (last + 1))
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[np.searchsorted(recall, _RECALLS)].mean())


def _mean(values: Floats, lacking: str) -> float:
    if np.isnan(values).all():
        raise EmptySetError(
            f"The evaluation set has no image {lacking}, so that nothing can be ranked.",
            hint="Get or build the evaluation sets again.",
        )
    return min(1.0, float(np.nanmean(values)))


def _check(scores: Scores, labels_matrix: Flags) -> None:
    if scores.ndim != 2 or scores.shape != labels_matrix.shape or labels_matrix.dtype != np.bool_:
        raise EvaluationError(
            f"Scores of shape {list(scores.shape)} do not fit {labels_matrix.dtype} labels of shape "
            f"{list(labels_matrix.shape)}."
        )
    if not np.isfinite(scores).all():
        raise ModelOutputError(
            "The model yields scores that are not finite.",
            hint="Training diverged (NaN, infinity or all zeros): check the data and train again.",
        )
