"""Linear probes: each of many classifiers is what PyTorch trains alone; the originals' results, splits and searches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from competition.data.shards import read_samples
from competition.errors import EvaluationError, ModelOutputError
from competition.evaluation import zeroshot
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.images import Preparation, decode_rgb
from competition.evaluation.linear_probe.heads import Candidate, HeadTraining, train_heads
from competition.evaluation.linear_probe.protocols import (
    ClipBenchmark,
    Elevater,
    SimCore,
    clip_benchmark,
    elevater,
    simcore,
)
from competition.evaluation.linear_probe.search import peak_search, weight_decays
from competition.evaluation.linear_probe.splits import few_shot_rows, validation_split
from competition.evaluation.sets import load_classification

CANDIDATES = [Candidate(0.1, 0.0), Candidate(0.02, 0.3), Candidate(0.001, 1e-6)]
TRAININGS = [
    HeadTraining(epochs=3, batch=16, optimizer="sgd", normalised=True),
    HeadTraining(epochs=4, batch=16, optimizer="sgd", nesterov=True, schedule="milestones", milestones=(1, 2)),
    HeadTraining(epochs=3, batch=16, optimizer="adamw", schedule="cosine"),
]


def made(rows: int = 97, classes: int = 5, dimensions: int = 12, seed: int = 0) -> LabelledFeatures:
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    means = np.random.default_rng(9).standard_normal((classes, dimensions))
    features = 0.8 * means[labels] + generator.standard_normal((rows, dimensions))
    return LabelledFeatures(features.astype(np.float32), labels.astype(np.int64))


def alone(data: LabelledFeatures, candidate: Candidate, training: HeadTraining, start: np.ndarray) -> nn.Module:
    """PyTorch's own modules and optimisers, with the same start and the same order."""
    generator = torch.Generator().manual_seed(3)
    classes, dimensions = start.shape
    linear = nn.Linear(dimensions, classes)
    nn.init.zeros_(linear.bias)
    linear.weight.data = torch.from_numpy(start.copy())
    norm = nn.BatchNorm1d(dimensions, affine=False) if training.normalised else nn.Identity()
    settings = {"lr": candidate.learning_rate, "weight_decay": candidate.weight_decay}
    if training.optimizer == "sgd":
        optimizer = torch.optim.SGD(linear.parameters(), momentum=0.9, nesterov=training.nesterov, **settings)
    else:
        optimizer = torch.optim.AdamW(linear.parameters(), **settings)
    steps = -(-len(data) // training.batch)
    for epoch in range(training.epochs):
        order = torch.randperm(len(data), generator=generator)
        for number, rows in enumerate(order.split(training.batch)):
            if training.normalised and len(rows) == 1:
                continue
            factor = training.rate_factor(epoch, epoch * steps + number, training.epochs * steps)
            optimizer.param_groups[0]["lr"] = candidate.learning_rate * factor
            optimizer.zero_grad()
            output = linear(norm(torch.from_numpy(data.features)[rows]))
            nn.functional.cross_entropy(output, torch.from_numpy(data.labels)[rows]).backward()
            optimizer.step()
    return nn.Sequential(norm, linear).eval()


@pytest.mark.parametrize("training", TRAININGS, ids=["elevater", "simcore", "clip_benchmark"])
def test_each_of_many_is_what_pytorch_trains_alone(training: HeadTraining) -> None:
    """97 images: a last batch of one, which a batch normalisation cannot take."""
    data, test = made(), made(seed=1)
    start = np.random.default_rng(0).standard_normal((5, 12)).astype(np.float32)
    *_, heads = train_heads([data], 5, CANDIDATES, training, initial=start, seed=3)
    logits = torch.cat(list(heads.logits(test.features)))
    for position, candidate in enumerate(CANDIDATES):
        expected = alone(data, candidate, training, start)(torch.from_numpy(test.features))
        assert torch.allclose(logits[:, position], expected, atol=2e-5)
        assert heads.predictions(test.features)[position].tolist() == expected.argmax(dim=1).tolist()


def test_schedules() -> None:
    simcore_like = TRAININGS[1]
    assert [simcore_like.rate_factor(epoch, 0, 1) for epoch in range(4)] == pytest.approx([1, 0.1, 0.01, 0.01])
    cosine = TRAININGS[2]
    assert [cosine.rate_factor(0, step, 4) for step in (0, 2, 4)] == pytest.approx([1, 0.5, 0])


def test_one_that_diverges_leaves_the_others_as_they_are() -> None:
    data = made()
    training = HeadTraining(epochs=12, batch=8, optimizer="sgd", normalised=True)
    wild = Candidate(0.1, 1e6)
    *_, with_it = train_heads([data], 5, [CANDIDATES[0], wild, CANDIDATES[1]], training)
    *_, without = train_heads([data], 5, [CANDIDATES[0], CANDIDATES[1]], training)
    assert with_it.alive == (0, 2)
    assert np.array_equal(with_it.predictions(data.features), without.predictions(data.features))
    *_, none = train_heads([data], 5, [wild], training)
    assert none.alive == ()
    assert none.predictions(data.features).shape == (0, 97)


def test_views_are_seen_in_turn() -> None:
    """Another second view changes what is learnt from the second epoch on, and not before."""
    data, other = made(), made(seed=7)
    first, second = [], []
    for views, seen in (([data, data], first), ([data, other], second)):
        for heads in train_heads(views, 5, CANDIDATES[:1], replace(TRAININGS[0], epochs=2), seed=1):
            seen.append(torch.cat(list(heads.logits(data.features))))
    assert torch.equal(first[0], second[0])
    assert not torch.allclose(first[1], second[1])


# Splits.


def test_validation_is_the_first_fifth_of_each_class_rounded_up() -> None:
    labels = np.array([0] * 6 + [1] * 5 + [2])
    train, validation = validation_split(labels)
    assert validation.tolist() == [0, 1, 6, 11]
    assert train.tolist() == [2, 3, 4, 5, 7, 8, 9, 10]


def test_shots_are_taken_in_the_order_of_a_shuffle() -> None:
    labels = np.repeat(np.arange(4), 10)
    rows = few_shot_rows(labels, 3, seed=5)
    assert np.bincount(labels[rows]).tolist() == [3, 3, 3, 3]
    assert len(set(rows.tolist())) == 12
    assert rows.tolist() == few_shot_rows(labels, 3, seed=5).tolist() != few_shot_rows(labels, 3, seed=6).tolist()
    assert len(few_shot_rows(labels, 99, seed=5)) == 40
    with pytest.raises(EvaluationError, match="fewer than 11 shots"):
        few_shot_rows(labels, 11, seed=5, exact=True)


# The search.


def one_at_a_time(score: dict[tuple[int, int], float], rates: int) -> tuple[int, int, int]:
    """ELEVATER's search as it is described: a learning rate after the other, a training after the other."""
    best, trained = (0, 0, 0.0), set()
    for rate in range(rates):
        peak, value = -1, 0.0
        for point in range(0, 97, 16):
            trained.add((rate, point))
            if score[rate, point] > value:
                peak, value = point, score[rate, point]
        span = 8
        while span > 0:
            for point in (max(peak - span, 0), min(peak + span, 96)):
                trained.add((rate, point))
                if score[rate, point] > value:
                    peak, value = point, score[rate, point]
            span //= 2
        if value > best[2]:
            best = (rate, peak, value)
    return best[0], best[1], len(trained)


@pytest.mark.parametrize("seed", range(30))
def test_the_search_selects_as_one_training_after_the_other(seed: int) -> None:
    """Few values, so that there are many ties; some seeds have their peaks at an end of the grid."""
    generator = np.random.default_rng(seed)
    centre = generator.integers(0, 97, 3)
    values = {
        (rate, point): max(0.05, round(float(1 - abs(point - centre[rate]) / 60 + generator.normal(0, 0.1)), 1))
        for rate in range(3)
        for point in range(97)
    }
    rates, decays = (1e-3, 1e-2, 1e-1), weight_decays(-6, 6)
    asked: list[Candidate] = []

    def scores(candidates: list[Candidate]) -> list[float]:
        asked.extend(candidates)
        return [values[rates.index(c.learning_rate), decays.index(c.weight_decay)] for c in candidates]

    found = peak_search(scores, rates, decays)
    rate, point, trained = one_at_a_time(values, 3)
    assert found.candidate == Candidate(rates[rate], decays[point])
    assert found.trainings == trained == len(asked) == len(set(asked)) <= 45


def test_a_search_in_which_nothing_is_right() -> None:
    with pytest.raises(EvaluationError, match="ever right"):
        peak_search(lambda candidates: [0.0] * len(candidates), (0.1,), weight_decays(-6, 6))


# Protocols.


@pytest.fixture(scope="module")
def digits() -> tuple[LabelledFeatures, LabelledFeatures]:
    pixels, labels = load_digits(return_X_y=True)
    data = LabelledFeatures((pixels / 16).astype(np.float32), labels.astype(np.int64))
    return data.taken(np.arange(600)), data.taken(np.arange(600, 1200))


def test_elevater_learns_digits(digits: tuple[LabelledFeatures, LabelledFeatures]) -> None:
    result = elevater(*digits, 10)
    assert result.outcome.metrics["acc1"] > 0.85
    assert result.outcome.samples == 600
    assert result.found is not None
    assert 42 < result.found.trainings <= 90
    peeking = elevater(*digits, 10, Elevater(peeking=True))
    assert peeking.candidate == result.candidate
    assert peeking.outcome.metrics["acc1"] >= result.outcome.metrics["acc1"]


def test_elevater_starts_from_the_text_classifier(digits: tuple[LabelledFeatures, LabelledFeatures]) -> None:
    train, test = digits
    short = HeadTraining(epochs=1, batch=64, optimizer="sgd", normalised=True)
    still = Elevater(search=short, final=short, learning_rates=(1e-12,))
    means = np.stack([train.features[train.labels == label].mean(axis=0) for label in range(10)], axis=1)
    means -= means.mean(axis=1, keepdims=True)
    half_wrong = means[:, [1, 2, 3, 4, 0, 5, 6, 7, 8, 9]]
    good = elevater(train, test, 10, still, text_weights=means)
    worse = elevater(train, test, 10, still, text_weights=half_wrong)
    assert good.outcome.metrics["acc1"] > 0.6 > worse.outcome.metrics["acc1"]
    with pytest.raises(EvaluationError, match="text classifier is of shape"):
        elevater(train, test, 10, still, text_weights=means.T)


def test_elevater_of_one_shot_trains_by_one_and_validates_by_one(
    digits: tuple[LabelledFeatures, LabelledFeatures], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    original = train_heads

    def watched(views: list[LabelledFeatures], *arguments: object, **named: object) -> object:
        sizes.append(len(views[0]))
        return original(views, *arguments, **named)

    monkeypatch.setattr("competition.evaluation.linear_probe.trainer.train_heads", watched)
    elevater(*digits, 10, Elevater(shots=1))
    assert set(sizes) == {10}
    sizes.clear()
    elevater(*digits, 10, Elevater(shots=5))
    assert sizes[0] == 40
    assert sizes[-1] == 50


def test_the_same_seed_gives_the_same(digits: tuple[LabelledFeatures, LabelledFeatures]) -> None:
    protocol = ClipBenchmark(shots=4)
    first, second = (clip_benchmark(*digits, 10, protocol).outcome for _ in range(2))
    assert first.metrics == second.metrics
    assert first.metrics != clip_benchmark(*digits, 10, replace(protocol, seed=1)).outcome.metrics


@pytest.fixture(scope="module")
def golden_features(zeroshot_golden: Path, golden_encoder: ClipEncoder) -> tuple[LabelledFeatures, LabelledFeatures]:
    folder, prepare = zeroshot_golden / "digits10", Preparation(32)
    test = load_classification(folder, prepare)
    images, labels = [], []
    for sample in read_samples(folder / "train" / "0.tar", ("webp", "png", "jpg", "cls")):
        images.append(
            prepare(decode_rgb(next(sample.members[n] for n in ("webp", "png", "jpg") if n in sample.members)))
        )
        labels.append(int(sample.members["cls"]))
    train = LabelledFeatures(golden_encoder.encode_images(np.stack(images)), np.array(labels))
    return train, LabelledFeatures(golden_encoder.encode_images(test.images), test.labels)


@pytest.mark.parametrize(("shots", "tolerance"), [(None, 0.03), (8, 0.08)])
def test_clip_benchmark_equals_the_original(
    zeroshot_golden: Path,
    golden_features: tuple[LabelledFeatures, LabelledFeatures],
    shots: int | None,
    tolerance: float,
) -> None:
    """Within what its README states, because the originals' shuffles are not to be had again."""
    runs = json.loads((zeroshot_golden / "expected" / "digits10_linear_probe.json").read_text())["runs"]
    of_shots = [run for run in runs.values() if run["fewshot_k"] == (shots or -1)]
    assert len(of_shots) == 3
    training = HeadTraining(epochs=20, batch=64, optimizer="adamw", schedule="cosine")
    for seed in range(3):
        result = clip_benchmark(*golden_features, 10, ClipBenchmark(shots, seed, training))
        assert result.candidate == Candidate(0.1, 0.0)
        for metric in ("acc1", "acc5"):
            expected = np.mean([run[f"lp_{metric}"] for run in of_shots])
            assert result.outcome.metrics[metric] == pytest.approx(expected, abs=tolerance)


def test_elevater_on_the_golden_model_is_about_as_good_as_its_text_classifier(
    zeroshot_golden: Path, golden_encoder: ClipEncoder, golden_features: tuple[LabelledFeatures, LabelledFeatures]
) -> None:
    data = load_classification(zeroshot_golden / "digits10", Preparation(32))
    weights = zeroshot.text_classifier(golden_encoder, data.class_names, data.templates)
    result = elevater(*golden_features, 10, text_weights=weights)
    zero_shot = zeroshot.evaluate(golden_encoder, data).metrics["acc1"]
    assert result.outcome.metrics["acc1"] > zero_shot - 0.03


def test_clip_benchmark_searches_where_there_is_a_validation_set(
    digits: tuple[LabelledFeatures, LabelledFeatures],
) -> None:
    train, test = digits
    validation = train.taken(np.arange(400, 600))
    result = clip_benchmark(train.taken(np.arange(400)), test, 10, validation=validation)
    assert result.found is not None
    assert result.found.trainings <= 15
    assert result.candidate.weight_decay in weight_decays(-6, 2)
    assert result.outcome.metrics["acc1"] > 0.85


def test_simcores_linear_evaluation(digits: tuple[LabelledFeatures, LabelledFeatures]) -> None:
    train, test = digits
    scaled = [LabelledFeatures(data.features - 0.3, data.labels) for data in (train, test)]
    plain = simcore([scaled[0]], scaled[1], 10)
    assert plain.candidate == Candidate(10.0, 0.0)
    assert plain.outcome.metrics["acc1"] > 0.85
    peeking = simcore([scaled[0]], scaled[1], 10, SimCore(peeking=True))
    assert peeking.outcome.metrics["acc1"] >= plain.outcome.metrics["acc1"]
    with pytest.raises(EvaluationError, match="same images"):
        simcore([train, train.taken(np.arange(599, -1, -1))], test, 10)
    with pytest.raises(EvaluationError, match="same images"):
        simcore([], test, 10)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (made(rows=0), made(), "training set is empty"),
        (made(), made(rows=0), "test set is empty"),
        (made(rows=4), made(), "Class 4 has no image in the training set"),
        (made(classes=6), made(), "class 5, which is not one of 5"),
        (made(), made(dimensions=11), "11 dimensions instead of 12"),
    ],
)
def test_bad_sets(train: LabelledFeatures, test: LabelledFeatures, message: str) -> None:
    for probe in (elevater, clip_benchmark, lambda *given: simcore([given[0]], *given[1:])):
        with pytest.raises(EvaluationError, match=message):
            probe(train, test, 5)


def test_nothing_is_left_to_train_on() -> None:
    with pytest.raises(EvaluationError, match="one image of each class"):
        elevater(made(rows=5), made(), 5)


def test_features_that_are_not_finite() -> None:
    broken = made()
    broken.features[7, 3] = np.nan
    with pytest.raises(ModelOutputError, match="image 7 of the training set"):
        elevater(broken, made(), 5)


def test_a_training_that_diverges_is_the_features_fault() -> None:
    data = made()
    huge = LabelledFeatures(data.features * np.float32(1e30), data.labels)
    with pytest.raises(ModelOutputError, match="diverges in epoch"):
        simcore([huge], huge, 5)


@pytest.mark.parametrize("make", [lambda: Elevater(shots=0), lambda: ClipBenchmark(shots=-1), lambda: Elevater("acc5")])
def test_protocols_that_make_no_sense(make: object) -> None:
    with pytest.raises(EvaluationError):
        make()
