"""Accuracies of any classifier from its scores: what the protocols of labelled sets have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from competition.evaluation import metrics
from competition.evaluation.inputs import Integers, checked_labels, checked_scores
from competition.evaluation.outcome import ClassCounts, ProtocolOutcome

_TOP = 5

Floats = NDArray[np.float64]
Components = dict[str, tuple[Floats, ...]]


def ranks(scores: ArrayLike, labels: ArrayLike) -> tuple[Integers, Integers]:
    """Rank [N] of the right class of every sample (0 = best; of equal scores the first leads), and the labels [N].

    Args:
        scores: of a model [N, C].
        labels: the right class of every sample [N], in [0, C).

    Raises:
        EmptySetError: there is no sample.
        LabelRangeError: a label is out of range.
        ModelOutputError: a score is not finite.
        EvaluationError: scores and labels do not fit together.
    """
    found = np.asarray(scores)
    true = checked_labels(labels, found.shape[1] if found.ndim == 2 else 1)
    return metrics.ranks(checked_scores(found, len(true)), true), true


def first_choices(scores: ArrayLike, samples: int, classes: int | None = None) -> Integers:
    """The class [N] with the highest score; of equal ones the first. Raises what ``checked_scores`` does."""
    chosen: Integers = checked_scores(scores, samples, classes).argmax(axis=1).astype(np.int64)
    return chosen


def score(scores: ArrayLike, labels: ArrayLike) -> ProtocolOutcome:
    """acc1, acc5 (from 5 classes on) and mean per-class recall (over the classes that occur); raises as ``ranks``."""
    found, true = ranks(scores, labels)
    return outcome_of_ranks(found, true, np.asarray(scores).shape[1])


def outcome_of_ranks(found: Integers, labels: Integers, classes: int) -> ProtocolOutcome:
    """The same from ranks.

    Args:
        found: rank [N] of the right class among all, 0 for the best.
        labels: the right class of every sample [N].
        classes: how many there are.
    """
    right = (found < 1).astype(np.float64)
    components: Components = {"acc1": (right,), "mean_per_class_recall": tuple(metrics.per_class(right, labels))}
    undefined: dict[str, float | None] = {"acc5": None}
    if classes >= _TOP:
        components["acc5"] = ((found < _TOP).astype(np.float64),)
        undefined = {}
    whole = outcome(len(labels), components, proportions=frozenset({"acc1", "acc5"}), further=undefined)
    return replace(whole, classes=class_counts(right, labels, classes))


def class_counts(right: Floats, labels: Integers, classes: int) -> ClassCounts:
    """Samples and right first choices by class.

    Args:
        right: 1 for every sample [N] whose first choice is right, else 0.
        labels: the right class of every sample [N].
        classes: how many there are.
    """
    return ClassCounts(np.bincount(labels, minlength=classes), np.bincount(labels[right > 0], minlength=classes))


def outcome(
    samples: int,
    components: Mapping[str, tuple[Floats, ...]],
    *,
    proportions: frozenset[str] = frozenset(),
    further: Mapping[str, float | None] | None = None,
) -> ProtocolOutcome:
    """An outcome whose metrics are the means of their components' means, and ``further`` ones that have none."""
    values: dict[str, float | None] = {name: metrics.mean_of_means(parts) for name, parts in components.items()}
    return ProtocolOutcome(samples, values | dict(further or {}), components, proportions & components.keys())


def merged(*outcomes: ProtocolOutcome) -> ProtocolOutcome:
    """Outcomes of several metrics on the same samples as one; what it says of classes is what the first one says."""
    values: dict[str, float | None] = {}
    components: Components = {}
    for found in outcomes:
        values |= found.metrics
        components |= found.components
    proportions = frozenset().union(*(found.proportions for found in outcomes))
    units = {metric: name for found in outcomes for metric, name in found.units.items()}
    return ProtocolOutcome(outcomes[0].samples, values, components, proportions, outcomes[0].classes, units)
