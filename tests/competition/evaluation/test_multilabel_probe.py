"""Probes of images that show several classes: each class's own loss, ELEVATER's samples and splits, its rankings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import roc_auc_score
from torch import nn

from competition.errors import EvaluationError
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.linear_probe import scoring
from competition.evaluation.linear_probe.heads import Candidate, HeadTraining, train_heads
from competition.evaluation.linear_probe.protocols import Elevater, elevater
from competition.evaluation.linear_probe.splits import few_shot_rows, validation_split
from competition.evaluation.ranking_metrics import mean_average_precision_11

CLASSES, DIMENSIONS = 4, 10
seeds = st.integers(0, 10**6)


def made(rows: int = 83, seed: int = 0, noise: float = 1.0) -> LabelledFeatures:
    random = np.random.default_rng(seed)
    labels = (random.random((rows, CLASSES)) < 0.35).astype(np.int64)
    directions = np.random.default_rng(9).standard_normal((CLASSES, DIMENSIONS))
    features = labels @ directions + noise * random.standard_normal((rows, DIMENSIONS))
    return LabelledFeatures(features.astype(np.float32), labels)


def test_each_of_many_is_what_pytorch_trains_alone() -> None:
    data, candidates = made(), [Candidate(0.3, 0.0), Candidate(0.05, 0.2)]
    training = HeadTraining(epochs=3, batch=16, optimizer="sgd", normalised=True)
    start = np.random.default_rng(1).standard_normal((CLASSES, DIMENSIONS)).astype(np.float32)
    *_, heads = train_heads([data], CLASSES, candidates, training, initial=start, seed=3)
    found = torch.cat(list(heads.logits(data.features)))
    for number, candidate in enumerate(candidates):
        norm, linear = nn.BatchNorm1d(DIMENSIONS, affine=False), nn.Linear(DIMENSIONS, CLASSES)
        linear.weight.data, linear.bias.data = torch.from_numpy(start.copy()), torch.zeros(CLASSES)
        optimizer = torch.optim.SGD(
            linear.parameters(), candidate.learning_rate, 0.9, weight_decay=candidate.weight_decay
        )
        generator = torch.Generator().manual_seed(3)
        for _ in range(training.epochs):
            for rows in torch.randperm(len(data), generator=generator).split(16):
                optimizer.zero_grad()
                output = linear(norm(torch.from_numpy(data.features)[rows]))
                nn.BCEWithLogitsLoss()(output, torch.from_numpy(data.labels)[rows].float()).backward()
                optimizer.step()
        expected = nn.Sequential(norm, linear).eval()(torch.from_numpy(data.features))
        assert torch.allclose(found[:, number], expected, atol=1e-4)


@given(seeds, st.integers(3, 60))
def test_validation_images_are_elevaters(seed: int, rows: int) -> None:
    """Its toolkit: as long as a class is short, the first image that shows the first such class, counted for all."""
    labels = (np.random.default_rng(seed).random((rows, CLASSES)) < 0.4).astype(np.int64)
    left, wanted, expected = labels.copy(), np.ceil(labels.sum(axis=0) * 0.2), set()
    while (wanted > 0).any():
        row = np.flatnonzero(left[:, np.flatnonzero(wanted > 0)[0]])[0]
        expected.add(int(row))
        wanted = wanted - left[row]
        left[row] = 0
    training, validating = validation_split(labels)
    assert set(validating.tolist()) == expected
    assert sorted([*training.tolist(), *validating.tolist()]) == list(range(rows))


@given(seeds, st.integers(1, 5))
def test_shots_suffice_for_every_class_and_none_is_superfluous(seed: int, shots: int) -> None:
    labels = made(120, seed).labels
    rows = few_shot_rows(labels, shots, seed)
    assert (labels[rows].sum(axis=0) >= np.minimum(shots, labels.sum(axis=0))).all()
    for place, row in enumerate(rows):
        before = labels[rows[:place]].sum(axis=0)
        assert (before[labels[row] == 1] < shots).any()
    assert np.array_equal(rows, few_shot_rows(labels, shots, seed))


@pytest.mark.parametrize("metric", scoring.RANKINGS)
def test_elevater_learns_several_classes(metric: str) -> None:
    found = elevater(made(300, 1), made(200, 2), CLASSES, Elevater(metric)).outcome
    assert found.metrics[metric] > 0.75
    assert found.metrics["acc1"] is None
    assert found.components[metric][0].mean() == pytest.approx(found.metrics[metric])
    assert set(found.components) == {metric}
    with_shots = elevater(made(300, 1), made(200, 2), CLASSES, Elevater(metric, shots=20)).outcome
    assert 0.4 < with_shots.metrics[metric] <= found.metrics[metric] + 0.05


def test_the_original_ranks_by_a_softmax() -> None:
    """An image with two bright classes: each is sure by itself, and halves the other's share."""
    data, logits = made(), np.random.default_rng(5).standard_normal((83, CLASSES)).astype(np.float32)
    flags = data.labels.astype(bool)
    own = scoring.outcome(logits, data.labels, CLASSES, "map11")
    original = scoring.outcome(logits, data.labels, CLASSES, "map11", original=True)
    assert own.metrics["map11"] == pytest.approx(mean_average_precision_11(logits.astype(float), flags))
    shares = softmax(logits.astype(float), axis=1)
    assert original.metrics["map11"] == pytest.approx(mean_average_precision_11(shares, flags))
    assert original.metrics["map11"] != own.metrics["map11"]
    assert original.metrics["map11"] == scoring.score(logits, data.labels, "map11", original=True)
    assert own.metrics["auc"] == pytest.approx(roc_auc_score(data.labels, logits))


def test_one_answer_an_image_is_ranked_by_its_probability() -> None:
    """Adding a number to an image's logits says nothing, and changes nothing."""
    random = np.random.default_rng(3)
    logits, labels = random.standard_normal((60, 2)).astype(np.float32), random.integers(0, 2, 60)
    shifted = logits + random.standard_normal((60, 1)).astype(np.float32)
    expected = roc_auc_score(labels, softmax(logits.astype(float), axis=1)[:, 1])
    for given_logits in (logits, shifted):
        assert scoring.score(given_logits, labels, "auc") == pytest.approx(expected)
    outcome = scoring.outcome(logits, labels, 2, "auc")
    assert outcome.metrics["acc1"] == scoring.score(logits, labels, "acc1")
    assert outcome.components["auc"][0].mean() == pytest.approx(outcome.metrics["auc"])


def test_what_is_not_defined_is_none_and_what_diverged_is_0() -> None:
    logits = np.zeros((5, 2), dtype=np.float32)
    assert scoring.outcome(logits, np.zeros(5, dtype=np.int64), 2).metrics["auc"] is None
    logits[2, 1] = math.inf
    for metric in scoring.METRICS:
        assert scoring.score(logits, np.zeros(5, dtype=np.int64), metric) == 0.0


def test_labels_that_do_not_fit() -> None:
    good = made()
    for wrong, said in (
        (LabelledFeatures(good.features, good.labels[:, :3]), "of 3 classes instead of 4"),
        (LabelledFeatures(good.features, good.labels * 2), "from 0 to 2"),
        (LabelledFeatures(good.features, good.labels * [1, 1, 0, 1]), "Class 2 has no image"),
        (LabelledFeatures(good.features, np.arange(83) % 4), "only one of"),
    ):
        with pytest.raises(EvaluationError, match=said):
            elevater(wrong, good, CLASSES, Elevater("map11"))
    with pytest.raises(EvaluationError, match="cannot be scored by acc1"):
        elevater(good, good, CLASSES)
