"""SimCore's selection: the original program's sets, rounds and values; and what must hold of any selection."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from participant_kit.coresets.best_rows import Ranking
from participant_kit.coresets.centroids import target_centroids, unit
from participant_kit.coresets.facility_location import Selection, StopRule, select_rows, training_epochs
from participant_kit.coresets.similarity import merge_rankings, rank_similarities, rank_vectors
from participant_kit.coresets.trace_picture import trace_picture


def blocks(vectors: np.ndarray, rows: int) -> list[tuple[np.ndarray, np.ndarray]]:
    numbers = np.arange(len(vectors))
    return [(numbers[at : at + rows], vectors[at : at + rows]) for at in range(0, len(vectors), rows)]


def ranker(
    vectors: np.ndarray, centroids: np.ndarray, rows: int = 700, device: str | None = None
) -> Callable[[int], Ranking]:
    return lambda depth: rank_vectors(blocks(vectors, rows), centroids, depth, lambda wanted: vectors[wanted], device)


def original(similarities: np.ndarray, limit: int, rule: StopRule | None) -> tuple[list[set[int]], list[float]]:
    """The algorithm as SimCore writes it, with a sorted list for each centroid; the rounds before any cut."""
    queues = [list(np.argsort(-column, kind="stable")) for column in similarities]
    taken: set[int] = set()
    rounds: list[set[int]] = []
    trace: list[float] = []
    while len(taken) < min(limit, similarities.shape[1]):
        picks = []
        for queue in queues:
            while queue[0] in taken:
                queue.pop(0)
            picks.append(queue.pop(0))
        trace.append(float(np.mean([float(similarities[q, row]) for q, row in enumerate(picks)])))
        if rule and len(trace) >= rule.reference_round and trace[-1] < rule.tau * trace[rule.reference_round - 1]:
            break
        rounds.append(set(map(int, picks)))
        taken |= rounds[-1]
    return rounds, trace


@pytest.fixture(scope="module")
def cases(golden: Path) -> tuple[Any, Any, Any]:
    folder = golden / "simcore"
    expected = json.loads((folder / "expected.json").read_text())
    return np.load(folder / "features.npz"), expected, np.load(folder / "expected_indices.npz")


NAMES = [
    "stop_patience20_tau0.95",
    "stop_patience20_tau0.9",
    "stop_patience1_tau0.9",
    "stop_patience5_tau0.97",
    "budget_5pct",
    "budget_12pct",
    "budget_smaller_than_K",
    "budget_exact_round_boundary",
    "stop_cap_centroids_are_the_points",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("device", [None, "cpu"])
def test_sets_rounds_and_values_are_the_originals(cases: tuple[Any, Any, Any], name: str, device: str | None) -> None:
    features, all_expected, indices = cases
    expected = (all_expected.get("cases") or all_expected)[name]
    config = expected["config"]
    centroids, targets = features["centroids"], features["X"]
    if "n_X" in config:
        targets = targets[: config["n_X"]]
        centroids = target_centroids(targets, 20)
    rule = StopRule(config["tau"], config["patience"]) if config["stop"] else None
    limit = 50 * len(targets) if rule else int(config["sampling_ratio"] * 5000)
    found = select_rows(ranker(features["Z_U"], centroids, device=device), 5000, len(centroids), limit, rule)
    assert len(found.rows) == expected["n_selected"]
    assert found.round_sizes == expected["round_sizes"]
    assert found.ended == expected["stop_reason"]
    if rule:
        assert found.trace == pytest.approx(expected["F_trace"], abs=1e-5)
        assert training_epochs(len(found.rows)) == expected["epochs_rule"]
    if f"{name}_certain" in indices:
        certain = set(indices[f"{name}_certain"].tolist())
        rest = set(found.rows.tolist()) - certain
        assert certain <= set(found.rows.tolist())
        assert len(rest) == expected["last_round_taken"]
        assert rest <= set(expected["last_round_candidates"])
    else:
        assert found.rows.tolist() == indices[name].tolist()


SMALL = st.tuples(st.integers(1, 60), st.integers(1, 6), st.integers(0, 2**32 - 1))


@settings(deadline=None)
@given(SMALL, st.integers(1, 70), st.booleans(), st.integers(1, 64), st.integers(1, 4))
def test_any_selection_is_the_plain_algorithms(
    shape: tuple[int, int, int], limit: int, stop: bool, block: int, levels: int
) -> None:
    """With few different similarities, so with many ties: the lowest row is taken first."""
    rows, columns, seed = shape
    similarities = np.random.default_rng(seed).integers(-levels, levels + 1, (columns, rows)).astype(np.float32)
    rule = StopRule(0.9, 2) if stop else None
    asked: list[int] = []

    def ranking_at(depth: int) -> Ranking:
        asked.append(depth)
        parts = [(numbers, part.T) for numbers, part in blocks(similarities.T, block)]
        return rank_similarities(parts, columns, depth)

    found = select_rows(ranking_at, rows, columns, limit, rule)
    rounds, trace = original(similarities, limit, rule)
    assert found.trace == pytest.approx(trace)
    whole = set().union(*rounds) if rounds else set()
    assert len(found.rows) == min(limit, len(whole))
    assert set(found.rows.tolist()) <= whole
    if len(whole) <= limit:
        assert set(found.rows.tolist()) == whole
    else:  # only the last round is cut
        assert set().union(*rounds[:-1]) <= set(found.rows.tolist())
    assert max(asked) <= min(rows, limit + 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 50), st.integers(1, 40))
def test_a_ranking_depends_neither_on_blocks_nor_on_files_nor_on_the_device(
    seed: int, rows: int, block: int, most: int
) -> None:
    """Many rows are copies of others, which only exact similarities and the order of rows tell apart."""
    generator = np.random.default_rng(seed)
    distinct = unit(generator.standard_normal((max(1, rows // 4), 16)).astype(np.float32))
    vectors = distinct[generator.integers(0, len(distinct), rows)]
    centroids = unit(generator.standard_normal((3, 16)).astype(np.float32))
    exact = np.stack([(vectors * centroid.astype(np.float64)).sum(axis=1) for centroid in centroids])
    expected = np.argsort(-exact, axis=1, kind="stable")[:, :most]
    cut = rows // 2
    halves = [
        rank_vectors(
            [(numbers + start, part) for numbers, part in blocks(vectors[start:end], block)],
            centroids,
            most,
            lambda wanted: vectors[wanted],
        )
        for start, end in ((0, cut), (cut, rows))
        if end > start
    ]
    for ranking in (
        ranker(vectors, centroids, block)(most),
        ranker(vectors, centroids, block, "cpu")(most),
        merge_rankings(halves, most),
    ):
        assert np.array_equal(ranking.rows, expected)
        assert np.array_equal(ranking.scores, np.take_along_axis(exact, expected, axis=1))


def test_a_deeper_ranking_is_asked_for_where_centroids_share_their_best() -> None:
    """All centroids are alike: each round takes one row, and the others look past all that are taken."""
    vectors = unit(np.random.default_rng(0).standard_normal((6000, 8)).astype(np.float32))
    centroids = np.repeat(vectors[:1], 3, axis=0)
    asked: list[int] = []
    ranking_at = ranker(vectors, centroids)

    def noted(depth: int) -> Ranking:
        asked.append(depth)
        return ranking_at(depth)

    found = select_rows(noted, 6000, 3, 5000)
    assert asked == [5001]  # as deep as can be needed: four rounds ahead is more
    found = select_rows(noted, 6000, 3, 2000)
    assert asked[1:] == [2001]
    many = np.repeat(vectors[:1], 50, axis=0)
    asked.clear()
    ranking_at = ranker(vectors, many)
    found = select_rows(noted, 6000, 50, 5000)
    assert asked == [1024, 4096, 5001]
    order = np.argsort(-(vectors.astype(np.float64) @ vectors[0]), kind="stable")
    assert set(found.rows.tolist()) == set(order[:5000].tolist())
    assert found.round_sizes == [1] * 5000


def test_the_cut_is_drawn_by_seed_and_the_values_never_rise() -> None:
    generator = np.random.default_rng(1)
    vectors = unit(generator.standard_normal((3000, 16)).astype(np.float32))
    centroids = unit(generator.standard_normal((40, 16)).astype(np.float32))
    first, again, other = (select_rows(ranker(vectors, centroids), 3000, 40, 190, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.rows, again.rows)
    assert not np.array_equal(first.rows, other.rows)
    assert first.ended == "budget"
    assert len(first.rows) == 190
    assert (np.diff(first.trace) <= 0).all()


def test_a_pool_that_runs_out_ends_the_selection() -> None:
    vectors = unit(np.random.default_rng(2).standard_normal((30, 8)).astype(np.float32))
    found = select_rows(ranker(vectors, vectors[:4]), 30, 4, 1500, StopRule(0.01, 20))
    assert found.ended == "pool_exhausted"
    assert found.rows.tolist() == list(range(30))


def test_centroids_are_of_length_one_and_the_targets_where_these_are_few() -> None:
    targets = unit(np.random.default_rng(3).standard_normal((50, 8)).astype(np.float32))
    assert np.array_equal(target_centroids(targets, 50), unit(targets))
    centroids = target_centroids(targets, 7)
    assert centroids.shape == (7, 8)
    assert np.linalg.norm(centroids, axis=1) == pytest.approx(1, abs=1e-6)
    assert np.array_equal(centroids, target_centroids(targets, 7))
    assert len(target_centroids(np.repeat(targets[:2], 20, axis=0), 5)) == 5  # fewer different points than centroids


def test_the_picture_shows_the_trace_and_the_threshold() -> None:
    found = Selection(np.arange(7), [0.9, 0.8, 0.7], [4, 3, 2], "threshold", 10)
    drawn = trace_picture(found, StopRule(0.9, 1))
    assert drawn.count("<polyline") == 1
    assert "7 rows in 2 rounds; ended by threshold" in drawn
    assert "0.9 of round 1" in drawn
    assert "href" not in drawn
    assert "<polyline" in trace_picture(Selection(np.arange(3), [0.5], [3], "exact_budget", 4), None)
