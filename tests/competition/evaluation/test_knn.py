"""Nearest neighbours: SELECT's own results, the definition by brute force, and input that cannot be classified."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from competition.data.nearest import Nearest
from competition.errors import EvaluationError, ModelOutputError
from competition.evaluation import knn
from competition.evaluation.features import LabelledFeatures, unit_rows
from competition.evaluation.knn import KnnSettings, evaluate, votes_by_k
from competition.evaluation.nearest import least_of_rows, nearest_rows
from competition.evaluation.support_sampling import balanced_support


def of(features: object, labels: object) -> LabelledFeatures:
    return LabelledFeatures(np.asarray(features, dtype=np.float32), np.asarray(labels, dtype=np.int64))


@pytest.fixture(scope="module")
def golden_sets(golden: Path) -> tuple[LabelledFeatures, LabelledFeatures]:
    arrays = np.load(golden / "knn" / "features.npz", allow_pickle=False)
    return of(arrays["train"], arrays["train_labels"]), of(arrays["query"], arrays["query_labels"])


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict[str, dict[str, float]]:
    return json.loads((golden / "knn" / "expected.json").read_text())["expected_percent"]


def percent(outcome: object) -> dict[str, float]:
    return {"top1": 100 * outcome.metrics["acc1"], "top5": 100 * outcome.metrics["acc5"]}


def test_all_k_of_one_pass_equal_the_original(golden_sets: tuple, expected: dict) -> None:
    for temperature, suffix in ((0.07, ""), (1.0, "_T1.0"), (0.02, "_T0.02")):
        ks = [k for k in (1, 3, 10, 20, 100, 200) if f"k{k}{suffix}" in expected]
        outcomes = evaluate(*golden_sets, 1000, KnnSettings(tuple(ks), temperature))
        assert list(outcomes) == ks
        for k, outcome in outcomes.items():
            assert percent(outcome) == pytest.approx(expected[f"k{k}{suffix}"], abs=1e-6), (k, temperature)


def test_the_number_of_classes_does_not_change_what_counts(golden_sets: tuple, expected: dict) -> None:
    """The original's top 5 does change with it, because it is filled with classes that have no vote."""
    outcome = evaluate(*golden_sets, 12, KnnSettings((20,)))[20]
    assert percent(outcome) == pytest.approx(expected["k20"], abs=1e-6)
    assert expected["k20_num_classes12"]["top5"] != expected["k20"]["top5"]


def test_fewer_queries(golden_sets: tuple, expected: dict) -> None:
    support, queries = golden_sets
    first = LabelledFeatures(queries.features[:250], queries.labels[:250])
    outcome = evaluate(support, first, 1000, KnnSettings((20,)))[20]
    assert percent(outcome) == pytest.approx(expected["k20_first250queries"], abs=1e-6)
    assert evaluate(support, queries.taken(np.arange(99)), 1000, KnnSettings((20,)))[20].samples == 99


def test_predictions_equal_those_of_float64(golden: Path, golden_sets: tuple) -> None:
    support, queries = golden_sets
    predictions = np.load(golden / "knn" / "predictions_top1.npz", allow_pickle=False)
    found = nearest_rows(support.features, queries.features, 200)
    for k, rows, votes in votes_by_k(found, support.labels, 1000, knn.SELECT):
        assert np.array_equal(votes.argmax(axis=1), predictions[f"k{k}"][rows])


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 30), st.integers(1, 9), st.integers(1, 9))
def test_neighbours_are_those_of_sorting_everything(
    seed: int, rows: int, most: int, support: int, queries: int
) -> None:
    """Small whole numbers make many equal products: the lowest rows must win, in whatever blocks."""
    generator = np.random.default_rng(seed)
    vectors = np.eye(4, dtype=np.float32)[generator.integers(0, 4, rows)] * generator.integers(1, 3, (rows, 1))
    asked = np.eye(4, dtype=np.float32)[generator.integers(0, 4, 7)]
    most = min(most, rows)
    found = nearest_rows(vectors, asked, most, blocks=(support, queries))
    products = unit_rows(asked) @ unit_rows(vectors).T
    order = np.argsort(-products, axis=1, kind="stable")[:, :most]
    assert np.array_equal(found.rows, order)
    assert np.array_equal(found.similarities, np.take_along_axis(products, order, axis=1))


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 40))
def test_what_a_device_leaves_behind_is_not_among_the_nearest(seed: int, most: int, columns: int) -> None:
    """A GPU hands over a part of each block; on ties too the search says the same of it as of the whole."""
    scores = np.random.default_rng(seed).integers(0, 4, (5, 3 * columns)).astype(np.float32)
    whole, parts = Nearest(5, most), Nearest(5, most)
    for start in range(0, 3 * columns, columns):
        block = scores[:, start : start + columns]
        whole.add(block, np.arange(start, start + columns))
        values, places = least_of_rows(torch.from_numpy(np.ascontiguousarray(block)), most)
        parts.add(values.numpy(), places.numpy() + start)
    for one, other in zip(whole.pairs().table(5, most), parts.pairs().table(5, most), strict=True):
        assert np.array_equal(one, other)
    order = np.argsort(scores, axis=1, kind="stable")[:, :most]
    assert np.array_equal(parts.pairs().table(5, most)[0][:, : order.shape[1]], order)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same() -> None:
    vectors = np.random.default_rng(0).integers(-2, 3, (9000, 16)).astype(np.float32) + 0.5
    on_cpu = nearest_rows(vectors, vectors[:1500], 200)
    on_gpu = nearest_rows(vectors, vectors[:1500], 200, device=torch.device("cuda"))
    np.testing.assert_allclose(on_gpu.similarities, on_cpu.similarities, atol=1e-6)


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_votes_are_those_of_the_definition(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    support = of(generator.standard_normal((40, 3)), generator.integers(0, 8, 40))
    queries = of(generator.standard_normal((9, 3)), generator.integers(0, 8, 9))
    outcome = evaluate(support, queries, 8, KnnSettings((k, 40)))[k]
    first, fifth = [], []
    for features, label in zip(unit_rows(queries.features), queries.labels, strict=True):
        cosines = unit_rows(support.features).astype(np.float64) @ features
        votes: dict[int, float] = {}
        for row in np.argsort(-cosines, kind="stable")[:k]:
            owner = int(support.labels[row])
            votes[owner] = votes.get(owner, 0.0) + float(np.exp(cosines[row] / 0.07))
        ranking = sorted(votes, key=lambda name: -votes[name])
        first.append(ranking[0] == label)
        fifth.append(label in ranking[:5])
    assert outcome.components["acc1"][0].tolist() == first
    assert outcome.components["acc5"][0].tolist() == fifth


def test_a_class_without_support_is_never_predicted_and_never_among_five() -> None:
    support = of([[1, 0], [0.9, 0.1]], [0, 0])
    outcome = evaluate(support, of([[1, 0], [1, 0]], [0, 1]), 5, KnnSettings((1, 2)))[2]
    assert outcome.components["acc5"][0].tolist() == [1, 0]
    assert outcome.metrics["mean_per_class_recall"] == 0.5


def test_few_classes_have_no_fifth() -> None:
    data = of(np.eye(4), [0, 1, 2, 3])
    outcome = evaluate(data, data, 4, KnnSettings((1,)))[1]
    assert outcome.metrics == {"acc1": 1.0, "acc5": None, "mean_per_class_recall": 1.0}


def test_small_memory_gives_the_same(golden_sets: tuple) -> None:
    support, queries = golden_sets
    whole = nearest_rows(support.features, queries.features, 50)
    parts = nearest_rows(support.features, queries.features, 50, blocks=(410, 90))
    assert np.array_equal(whole.rows, parts.rows)


def test_the_global_precision_of_products_is_left_as_it_was() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        nearest_rows(np.eye(2), np.eye(2), 1)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


GOOD = of(np.eye(3), [0, 1, 2])


@pytest.mark.parametrize(
    ("support", "queries", "message"),
    [
        (GOOD, GOOD, "3 images, which is fewer than the 4 neighbours"),
        (of(np.zeros((0, 3)), []), GOOD, "The support set is empty"),
        (GOOD, of(np.zeros((0, 3)), []), "The query set is empty"),
        (GOOD, of(np.eye(2), [0, 1]), "2 dimensions instead of 3"),
        (of(np.eye(3), [0, 1, 3]), GOOD, "class 3, which is not one of 3"),
        (GOOD, of(np.eye(3), [0, -1, 2]), "class -1"),
        (GOOD, of(np.eye(3), [0, 1]), "labels of shape"),
        (GOOD, LabelledFeatures(np.eye(3, dtype=np.float32), np.zeros(3)), "float64 labels"),
    ],
)
def test_what_cannot_be_classified_is_refused(
    support: LabelledFeatures, queries: LabelledFeatures, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate(support, queries, 3, KnnSettings((1, 4)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_the_models_fault(value: float) -> None:
    broken = of(np.where(np.eye(3) * [0, 0, 1] > 0, value, np.eye(3)), [0, 1, 2])
    for support, queries in ((broken, GOOD), (GOOD, broken)):
        with pytest.raises(ModelOutputError, match="image 2 of the"):
            evaluate(support, queries, 3, KnnSettings((1,)))


def test_features_of_zeros_classify_nothing_by_accident() -> None:
    """All are equally near: the first rows vote, whatever the query."""
    support = of(np.zeros((6, 3)), [2, 2, 1, 1, 0, 0])
    outcome = evaluate(support, of(np.zeros((3, 3)), [0, 1, 2]), 5, KnnSettings((2,)))[2]
    assert outcome.components["acc1"][0].tolist() == [0, 0, 1]


@pytest.mark.parametrize(("neighbours", "temperature"), [((), 0.07), ((0,), 0.07), ((1,), 0.001), ((1,), float("nan"))])
def test_settings_that_make_no_sense(neighbours: tuple[int, ...], temperature: float) -> None:
    with pytest.raises(EvaluationError):
        KnnSettings(neighbours, temperature)


# The balanced support set.


def pool(counts: list[int], dimensions: int = 6, scale: float = 1.0) -> LabelledFeatures:
    generator = np.random.default_rng(5)
    labels = generator.permutation(np.repeat(np.arange(len(counts)), counts))
    means = 5 * np.arange(len(counts))[:, None] * np.ones(dimensions)
    return of(scale * (means[labels] + generator.standard_normal((len(labels), dimensions))), labels)


@given(st.lists(st.integers(0, 12), min_size=2, max_size=6).filter(any), st.integers(1, 9))
def test_every_class_gets_its_share(counts: list[int], per_class: int) -> None:
    data, classes = pool(counts), len(counts)
    balanced = balanced_support(data, classes, per_class * classes + classes - 1)
    assert np.bincount(balanced.support.labels, minlength=classes).tolist() == [per_class] * classes
    assert balanced.empty_classes == tuple(label for label, count in enumerate(counts) if not count)
    real = balanced.support.taken(np.flatnonzero(~balanced.synthetic))
    assert np.bincount(real.labels, minlength=classes).tolist() == [min(count, per_class) for count in counts]
    known = {(int(label), row.tobytes()) for label, row in zip(data.labels, data.features, strict=True)}
    chosen = [(int(label), row.tobytes()) for label, row in zip(real.labels, real.features, strict=True)]
    assert set(chosen) <= known
    assert len(set(chosen)) == len(chosen)


def test_missing_last_classes_do_not_change_the_share() -> None:
    """The original divides by the highest label and one: 3 vectors a class instead of 2."""
    balanced = balanced_support(pool([4, 4]), 3, 6)
    assert np.bincount(balanced.support.labels).tolist() == [2, 2, 2]


def test_the_seed_decides_everything() -> None:
    data = pool([9, 3, 0])
    first, same, other = (balanced_support(data, 3, 15, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.support.features, same.support.features)
    assert not np.array_equal(first.support.features, other.support.features)
    assert first.seed == 1


def test_a_small_class_is_filled_from_its_own_distribution() -> None:
    data = pool([400, 200])
    balanced = balanced_support(data, 2, 8000)
    drawn = balanced.support.features[balanced.synthetic & (balanced.support.labels == 1)]
    own = data.features[data.labels == 1]
    assert len(drawn) == 3800
    assert np.abs(drawn.mean(axis=0) - own.mean(axis=0)).max() < 0.1
    assert np.abs(drawn.std(axis=0) - own.std(axis=0, ddof=1)).max() < 0.1


def test_a_class_of_one_is_filled_near_its_vector() -> None:
    data = pool([5, 1])
    balanced = balanced_support(data, 2, 10)
    drawn = balanced.support.features[balanced.synthetic]
    assert 0 < np.abs(drawn - data.features[data.labels == 1]).max() < 1e-3


def test_an_empty_class_lies_apart() -> None:
    data = pool([20, 20, 0], dimensions=300, scale=3)
    balanced = balanced_support(data, 3, 30)
    drawn = balanced.support.features[balanced.support.labels == 2]
    distances = np.linalg.norm(data.features[:, None] - drawn[None], axis=2)
    assert distances.min() > 9.5
    assert 0.1 < np.linalg.norm(drawn[1] - drawn[2]) < 1
    assert (drawn[0] >= data.features.min(axis=0)).all()
    assert (drawn[0] <= data.features.max(axis=0)).all()


def test_repeated_vectors_are_told_apart() -> None:
    data = of(np.vstack([np.zeros((3, 4)), -np.zeros((1, 4)), np.ones((1, 4))]), [0, 0, 0, 0, 1])
    features = balanced_support(data, 2, 10).support.features
    assert len(np.unique(features[:4], axis=0)) == 4
    assert np.abs(features[:4]).max() < 0.01
    assert np.array_equal(features[5], np.ones(4))


@pytest.mark.parametrize(("total", "message"), [(2, "gives none to each of 3"), (0, "gives none"), (-4, "gives none")])
def test_a_total_that_is_too_small(total: int, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        balanced_support(GOOD, 3, total)
