"""The outcome of a classification from the rank of each image's class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from competition.evaluation import metrics
from competition.evaluation.outcome import ProtocolOutcome

_METRICS = ("acc1", "acc5", "mean_per_class_recall")


def outcome_of_ranks(ranks: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> ProtocolOutcome:
    """acc1, acc5 (from 5 classes on) and mean per-class recall (over the classes that occur).

    Args:
        ranks: int64 [N] of the right class among all, 0 for the best.
        labels: int64 [N].
        classes: how many there are.
    """
    right = (ranks < 1).astype(np.float64)
    components = {"acc1": (right,), "mean_per_class_recall": tuple(metrics.per_class(right, labels))}
    if classes >= 5:
        components["acc5"] = ((ranks < 5).astype(np.float64),)
    values = {name: metrics.mean_of_means(components[name]) if name in components else None for name in _METRICS}
    return ProtocolOutcome(len(labels), values, components, proportions=frozenset({"acc1", "acc5"}))
