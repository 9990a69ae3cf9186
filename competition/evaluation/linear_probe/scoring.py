"""How a probe's logits on a test set are scored: by first choices, or by how they rank the images of each class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from competition.errors import EmptySetError, EvaluationError
from competition.evaluation import metrics, ranking_metrics
from competition.evaluation.classification import merged, outcome_of_ranks
from competition.evaluation.outcome import ProtocolOutcome

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]
Metric = Literal["acc1", "mean_per_class_recall", "auc", "map11"]

CHOICES = ("acc1", "mean_per_class_recall")
RANKINGS = ("auc", "map11")
METRICS = (*CHOICES, *RANKINGS)


def require_metric(metric: str, labels: Labels) -> None:
    """Refuse what cannot be scored by: first choices, where images show several classes (``EvaluationError``)."""
    if metric not in METRICS:
        raise EvaluationError(f"A linear probe is not scored by {metric!r}.", hint=f"There are: {', '.join(METRICS)}.")
    if metric in CHOICES and labels.ndim == 2:
        raise EvaluationError(
            f"Images that show several classes cannot be scored by {metric}, which asks for the first choice.",
            hint=f"Score the set by {' or '.join(RANKINGS)}.",
        )


def score(logits: Logits, labels: Labels, metric: str, *, original: bool = False) -> float:
    """One metric of logits [N, C]; 0 where they are not finite, so that a training that diverged is never chosen.

    Args:
        logits: of a probe.
        labels: int64 [N], or [N, C] of 0 and 1.
        metric: see ``METRICS``.
        original: see ``outcome``.
    """
    if not np.isfinite(logits).all():
        return 0.0
    if metric in CHOICES:
        return score_of_choices(logits.argmax(axis=1), labels, metric)
    return _ranking(metric, labels)(_comparable(logits, labels, original), labels)


def score_of_choices(chosen: NDArray[np.int64], labels: Labels, metric: str) -> float:
    """acc1 or mean_per_class_recall of chosen classes [N]."""
    right = (chosen == labels).astype(np.float64)
    if metric == "acc1":
        return float(right.mean())
    return metrics.mean_of_means(metrics.per_class(right, labels))


def outcome(
    logits: Logits, labels: Labels, classes: int, metric: str = "acc1", *, original: bool = False
) -> ProtocolOutcome:
    """Every metric of logits [N, C] that is defined; those of first choices are not where images show several classes.

    Rankings have components (see ``ranking_metrics.pseudo_values``) where they are what the task is scored by.

    Args:
        logits: finite.
        labels: int64 [N], or [N, C] of 0 and 1.
        classes: how many there are.
        metric: what the task is scored by.
        original: rank several answers an image by a softmax over the classes, as ELEVATER does though its classes were
            trained each by itself; else by each class's own logits. One answer an image is ranked by its probability.
    """
    comparable = _comparable(logits, labels, original)
    values: dict[str, float | None] = {}
    components = {}
    for name in RANKINGS:
        values[name] = found = _defined(name, comparable, labels)
        if name == metric and found is not None:
            rows_metric = _of_rows(name, comparable, labels)
            components[name] = (ranking_metrics.pseudo_values(rows_metric, len(labels), found),)
    rankings = ProtocolOutcome(len(labels), values, components)
    if labels.ndim == 2:
        undefined = dict.fromkeys(CHOICES, None)
        return ProtocolOutcome(len(labels), undefined | values, components)
    return merged(outcome_of_ranks(metrics.ranks(logits, labels), labels, classes), rankings)


def _comparable(logits: Logits, labels: Labels, original: bool) -> NDArray[np.float64]:
    """Scores that can be compared between images."""
    wide = np.asarray(logits, dtype=np.float64)
    if labels.ndim == 2 and not original:
        return wide
    probabilities: NDArray[np.float64] = softmax(wide, axis=1)
    return probabilities


def _ranking(metric: str, labels: Labels) -> Callable[[NDArray[np.float64], Labels], float]:
    if metric == "auc" and labels.ndim == 1:
        return ranking_metrics.area_under_roc
    of_matrix = ranking_metrics.mean_area_under_roc if metric == "auc" else ranking_metrics.mean_average_precision_11

    def ranked(scores: NDArray[np.float64], true: Labels) -> float:
        flags = true.astype(np.bool_) if true.ndim == 2 else ranking_metrics.one_hot(true, scores.shape[1])
        return of_matrix(scores, flags)

    return ranked


def _defined(metric: str, scores: NDArray[np.float64], labels: Labels) -> float | None:
    """The metric, or nothing where all images are of one class."""
    try:
        return _ranking(metric, labels)(scores, labels)
    except EmptySetError:
        return None


def _of_rows(metric: str, scores: NDArray[np.float64], labels: Labels) -> Callable[[NDArray[np.int64]], float]:
    def of_rows(rows: NDArray[np.int64]) -> float:
        found = _defined(metric, scores[rows], labels[rows])
        return np.nan if found is None else found

    return of_rows
