"""Metrics equal their definitions; ties and numbers that are not finite cannot be exploited."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from competition.errors import EvaluationError
from competition.evaluation import metrics

distinct_scores = st.integers(2, 7).flatmap(
    lambda classes: arrays(np.float64, (11, classes), elements=st.floats(-1, 1), unique=True)
)


@given(distinct_scores, st.integers(0, 99))
def test_accuracies_equal_scikit_learns(scores: np.ndarray, seed: int) -> None:
    classes = scores.shape[1]
    labels = np.random.default_rng(seed).integers(0, classes, len(scores))
    ranks = metrics.ranks(scores, labels)
    assert np.array_equal(ranks < 1, scores.argmax(axis=1) == labels)
    for k in range(1, classes):
        if classes > 2:
            expected = top_k_accuracy_score(labels, scores, k=k, labels=np.arange(classes))
            assert np.mean(ranks < k) == pytest.approx(expected)
    right = (ranks < 1).astype(float)
    y_pred = scores.argmax(axis=1)
    present = np.unique(labels)
    recalls = [np.mean(y_pred[labels == label] == label) for label in present]
    assert metrics.mean_of_means(metrics.per_class(right, labels)) == pytest.approx(np.mean(recalls))
    if set(y_pred) <= set(present):
        assert np.mean(recalls) == pytest.approx(balanced_accuracy_score(labels, y_pred))


def test_equal_scores_are_decided_by_position() -> None:
    """A model that says the same about everything is at chance, whatever the labels."""
    scores = np.zeros((4, 4))
    assert metrics.ranks(scores, np.arange(4)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_an_error(value: float) -> None:
    scores = np.zeros((2, 3))
    scores[1, 2] = value
    with pytest.raises(EvaluationError, match="not finite"):
        metrics.ranks(scores, np.zeros(2, dtype=np.int64))
