"""Areas and average precisions equal scikit-learn's and hand calculations; what cannot be ranked is an error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, roc_auc_score

from competition.errors import EmptySetError, EvaluationError, LabelRangeError, ModelOutputError
from competition.evaluation.ranking_metrics import (
    area_under_roc,
    average_precisions_11,
    mean_area_under_roc,
    mean_average_precision_11,
    one_hot,
    pseudo_values,
)

seeds = st.integers(0, 10**6)


def drawn(seed: int, classes: int, images: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with many ties, and labels of which every class occurs."""
    random = np.random.default_rng(seed)
    scores = random.integers(1, 6, (images, classes)).astype(float)
    labels = random.permutation(np.arange(images) % classes)
    return scores / scores.sum(axis=1, keepdims=True), labels


@given(seeds)
def test_the_area_of_two_classes_is_scikit_learns(seed: int) -> None:
    scores, labels = drawn(seed, 2)
    assert area_under_roc(scores, labels) == pytest.approx(roc_auc_score(labels, scores[:, 1]), abs=1e-12)


@given(seeds, st.integers(3, 6))
def test_areas_of_more_classes_are_each_against_the_rest(seed: int, classes: int) -> None:
    scores, labels = drawn(seed, classes)
    expected = roc_auc_score(labels, scores, multi_class="ovr")
    assert area_under_roc(scores, labels) == pytest.approx(expected, abs=1e-12)


@given(seeds)
def test_areas_of_several_answers(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, flags = random.integers(0, 5, (30, 3)) / 5, random.random((30, 3)) < 0.4
    flags[0], flags[1] = True, False
    assert mean_area_under_roc(scores, flags) == pytest.approx(roc_auc_score(flags, scores), abs=1e-12)


def test_eleven_points_by_hand() -> None:
    """Found in order: right, wrong, right, wrong, right. Precisions 1, 1/2, 2/3, 1/2, 3/5 at recalls 1/3 to 1.

    Recalls 1 to 0.7 are had at best with 3/5, 0.6 to 0.4 with 2/3, 0.3 to 0 with 1.
    """
    scores = np.array([[0.9], [0.8], [0.7], [0.6], [0.5]])
    flags = np.array([[True], [False], [True], [False], [True]])
    assert mean_average_precision_11(scores, flags) == pytest.approx((4 * 3 / 5 + 3 * 2 / 3 + 4 * 1) / 11)


def test_the_point_of_recall_0_is_1_as_elevater_has_it() -> None:
    """The worst order: the only right image last of four. VOC's own first point would be 1/4."""
    scores, flags = np.array([[4.0], [3.0], [2.0], [1.0]]), np.array([[False], [False], [False], [True]])
    assert mean_average_precision_11(scores, flags) == pytest.approx((10 / 4 + 1) / 11)


@given(seeds, st.integers(1, 4))
def test_eleven_points_of_scikit_learns_curve(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    scores, flags = random.integers(0, 7, (25, classes)) / 7, random.random((25, classes)) < 0.3
    flags[0] = True
    means = []
    for column in range(classes):
        precision, recall, _ = precision_recall_curve(flags[:, column], scores[:, column])
        means.append(np.mean([precision[recall >= point].max() for point in np.linspace(1, 0, 11)]))
    assert average_precisions_11(scores, flags) == pytest.approx(means, abs=1e-12)
    assert mean_average_precision_11(scores, flags) == pytest.approx(np.mean(means), abs=1e-12)


def test_classes_that_do_not_occur_are_left_out() -> None:
    scores, labels = drawn(3, 3)
    more = np.column_stack([scores, np.linspace(0, 1, len(scores))])
    assert area_under_roc(more, labels) == area_under_roc(scores, labels)
    assert mean_average_precision_11(more, one_hot(labels, 4)) == mean_average_precision_11(scores, one_hot(labels, 3))


def test_pseudo_values_of_a_mean_are_its_groups() -> None:
    """Of a mean nothing is approximated: the groups' own means, and so the standard error that groups have."""
    values = np.random.default_rng(0).random(100)
    found = pseudo_values(lambda rows: float(values[rows].mean()), 100, float(values.mean()))
    assert found == pytest.approx(values.reshape(10, 10).mean(axis=0))


def test_pseudo_values_agree_with_the_bootstrap() -> None:
    """Their mean is the metric, and their standard error that of resampled images, within a third of it."""
    random = np.random.default_rng(1)
    labels = np.arange(400) % 2
    scores = np.column_stack([-(column := labels + random.standard_normal(400)), column])
    whole = area_under_roc(scores, labels)
    found = pseudo_values(lambda rows: area_under_roc(scores[rows], labels[rows]), 400, whole)
    assert found.mean() == pytest.approx(whole)
    drawn_rows = random.integers(0, 400, (300, 400))
    resampled = np.std([area_under_roc(scores[rows], labels[rows]) for rows in drawn_rows])
    assert found.std(ddof=1) / math.sqrt(len(found)) == pytest.approx(resampled, rel=1 / 3)


def test_what_is_not_defined_without_a_group_says_nothing_about_it() -> None:
    found = pseudo_values(lambda rows: math.nan if 0 not in rows else 0.5, 9, 0.5)
    assert found == pytest.approx([0.5] * 3)


def test_what_cannot_be_ranked() -> None:
    scores = np.zeros((3, 2))
    with pytest.raises(EmptySetError, match="of another class"):
        area_under_roc(scores, np.zeros(3, dtype=np.int64))
    with pytest.raises(EmptySetError, match="shows a class"):
        mean_average_precision_11(scores, np.zeros((3, 2), dtype=np.bool_))
    with pytest.raises(LabelRangeError):
        area_under_roc(scores, np.array([0, 1, 2]))
    with pytest.raises(EvaluationError, match="do not fit"):
        mean_average_precision_11(scores, np.zeros((3, 3), dtype=np.bool_))
    scores[1, 1] = np.nan
    with pytest.raises(ModelOutputError):
        area_under_roc(scores, np.array([0, 1, 1]))
