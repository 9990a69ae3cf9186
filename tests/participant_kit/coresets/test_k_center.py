"""Greedy k-center: the centres of the plain algorithm, however few points are in memory, and within twice the best."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from participant_kit.coresets.k_center import SCALE, Points, greedy_centres, rounded, squared_distances
from tests.participant_kit.subsets.synthetic import unit

Exact = NDArray[np.int64]


def sphere(count: int, dimensions: int, seed: int, copies: int = 0) -> Exact:
    """Rounded vectors of length 1, some of them several times."""
    generator = np.random.default_rng(seed)
    vectors = rounded(unit(generator.standard_normal((count, dimensions)))).astype(np.int64)
    return np.concatenate([vectors, vectors[generator.integers(0, count, copies)]])


def all_distances(vectors: Exact) -> Exact:
    """Squared, in whole numbers."""
    lengths = (vectors**2).sum(axis=1)
    return lengths[:, None] + lengths[None, :] - 2 * vectors @ vectors.T


def plain(vectors: Exact, lots: NDArray[np.uint64], present: NDArray[np.bool_], k: int) -> list[int]:
    """Gonzalez' algorithm as it is written: one pass over all points for every centre."""
    distances, rows = all_distances(vectors), np.flatnonzero(present).tolist()
    chosen = [min(rows, key=lambda row: lots[row])]
    while len(chosen) < k:
        left = [row for row in rows if row not in chosen]
        chosen.append(min(left, key=lambda row: (-distances[row, chosen].min(), lots[row])))
    return chosen


def points_of(vectors: Exact, lots: NDArray[np.uint64], present: NDArray[np.bool_], block: int = 7) -> Points:
    """Distances are measured some rows at a time."""
    floats = vectors.astype(np.float32)

    def measure(centres: NDArray[np.float32]) -> NDArray[np.int32]:
        starts = range(0, len(floats), block)
        return np.concatenate([squared_distances(floats[start : start + block], centres) for start in starts])

    return Points(lots, present, lambda rows: floats[rows], measure)


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(0, 20), st.integers(1, 30), st.integers(0, 2**32 - 1), st.data())
def test_the_centres_are_those_of_the_plain_algorithm(
    count: int, copies: int, candidates: int, seed: int, data: st.DataObject
) -> None:
    vectors = sphere(count, 3, seed, copies)
    generator = np.random.default_rng(seed)
    lots = generator.permutation(len(vectors)).astype(np.uint64)
    present = generator.random(len(vectors)) < 0.9
    present[0] = True
    k = data.draw(st.integers(1, int(present.sum())))
    found = greedy_centres(points_of(vectors, lots, present), k, candidates=candidates)
    expected = plain(vectors, lots, present, k)
    assert found.rows.tolist() == expected
    radius = all_distances(vectors)[present][:, expected].min(axis=1).max()
    assert found.radius == np.sqrt(radius) / SCALE
    known = expected[: data.draw(st.integers(1, k))]
    resumed = greedy_centres(points_of(vectors, lots, present), k, chosen=known, candidates=candidates)
    assert resumed.rows.tolist() == expected


@settings(max_examples=25)
@given(st.integers(2, 11), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_the_radius_is_at_most_twice_the_best(count: int, k: int, seed: int) -> None:
    vectors = sphere(count, 2, seed)
    k = min(k, count)
    lots, present = np.arange(count, dtype=np.uint64), np.ones(count, dtype=bool)
    found = greedy_centres(points_of(vectors, lots, present), k)
    distances = np.sqrt(all_distances(vectors)) / SCALE
    best = min(distances[:, list(centres)].min(axis=1).max() for centres in combinations(range(count), k))
    assert best <= found.radius <= 2 * best


def test_distances_are_exact_in_any_blocks_for_the_longest_vectors_that_are_let_in() -> None:
    generator = np.random.default_rng(3)
    vectors = rounded(1.01 * unit(generator.standard_normal((300, 1024))))
    exact = all_distances(vectors.astype(np.int64))
    for block in (1, 64, 300):
        parts = [squared_distances(vectors[start : start + block], vectors[:5]) for start in range(0, 300, block)]
        assert np.array_equal(np.concatenate(parts), exact[:, :5].min(axis=1))


def test_few_passes_serve_many_centres() -> None:
    vectors = sphere(3000, 48, 5)
    lots, present = np.arange(3000, dtype=np.uint64), np.ones(3000, dtype=bool)
    assert greedy_centres(points_of(vectors, lots, present, 512), 500, candidates=1000).passes < 50
