"""The blocked search finds what a full sort finds: any blocks, ties, repeated keys, margins, each query's own rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.data import nearest as search
from competition.data.nearest import Nearest, Pairs, Products, nearest

QUERIES, ROWS = 5, 60


def sorted_out(distances: np.ndarray, keys: np.ndarray, k: int) -> list[list[tuple[float, int]]]:
    """Distance and key of the k nearest keys of each query, by a loop."""
    found = []
    for row in distances:
        best: dict[int, float] = {}
        for distance, key in zip(row.tolist(), keys.tolist(), strict=True):
            best[key] = min(distance, best.get(key, np.inf))
        found.append(sorted((distance, key) for key, distance in best.items())[:k])
    return found


def listed(pairs: Pairs, keys: np.ndarray) -> list[list[tuple[float, int]]]:
    found: list[list[tuple[float, int]]] = [[] for _ in range(QUERIES)]
    for query, row, distance in zip(pairs.queries, pairs.rows, pairs.distances.tolist(), strict=True):
        found[query].append((distance, int(keys[row])))
    return found


@given(
    st.integers(0, 2**32), st.integers(1, 70), st.integers(1, 25), st.sampled_from([0, 1]), st.sampled_from([1, 7, 60])
)
def test_scores_that_are_off_lead_to_the_exact_neighbours(seed: int, k: int, step: int, off: int, keys: int) -> None:
    """Distances are whole numbers, most of them repeated; scores are off by up to a margin that differs by block."""
    generator = np.random.default_rng(seed)
    distances = generator.integers(0, 12, (QUERIES, ROWS)).astype(np.float64)
    key_of = generator.integers(0, keys, ROWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_FIRST_COLUMNS", 2)
        patch.setattr(search, "_FIRST_TIMES", 1)
        patch.setattr(search, "_MOST_TIES", int(generator.integers(1, 4)))
        best = Nearest(QUERIES, k, lambda queries, rows, _: distances[queries, rows], key_of)
        for start in range(0, ROWS, step):
            block = distances[:, start : start + step]
            margins = off * generator.integers(0, 4, QUERIES).astype(np.float64)
            scores = block + margins[:, None] * generator.uniform(-1, 1, block.shape)
            best.add(scores.astype(np.float32), np.arange(start, start + block.shape[1]), margins + 1e-5)
        pairs = best.pairs()
    assert listed(pairs, key_of) == sorted_out(distances, key_of, k)
    assert (np.diff(pairs.queries) >= 0).all()


@given(st.integers(0, 2**32), st.integers(1, 9))
def test_rows_that_each_query_has_of_its_own(seed: int, k: int) -> None:
    """As a GPU gives them: some best rows of each block, for each query others."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 9, (QUERIES, ROWS)).astype(np.float32)
    numbers = np.arange(ROWS) * 10
    best = Nearest(QUERIES, k)
    for start in range(0, ROWS, 20):
        places = np.argsort(scores[:, start : start + 20], axis=1, kind="stable")[:, :k] + start
        best.add(np.take_along_axis(scores, places, axis=1), numbers[places])
    rows, distances = best.pairs().table(QUERIES, k)
    order = np.argsort(scores, axis=1, kind="stable")[:, :k]
    assert np.array_equal(rows, numbers[order])
    assert np.array_equal(distances, np.take_along_axis(scores, order, axis=1))
    assert distances.dtype == np.float32


class Far:
    """Two blocks of one reference: the second one's score is off by 5, the first one's by nothing."""

    queries, references, reference_rows = 1, 2, 1
    distances = np.array([[10.0, 9.0]])

    def scores(self, first: slice, second: slice) -> tuple[np.ndarray, np.ndarray]:
        off = np.array([[0.0, 5.0]])[:, second]
        return self.distances[first, second] + off, off.max(axis=1)

    def exact(self, queries: np.ndarray, references: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return self.distances[queries, references]


def test_a_later_block_may_be_off_by_more_than_the_first() -> None:
    assert nearest(Far(), 1).rows.tolist() == [1]


def test_fewer_rows_than_neighbours_and_none() -> None:
    best = Nearest(2, 3)
    assert best.pairs().table(2, 3)[0].tolist() == [[-1] * 3] * 2
    best.add(np.array([[2.0, 1.0], [1.0, 1.0]]), np.array([4, 5]))
    rows, distances = best.pairs().table(2, 3)
    assert rows.tolist() == [[5, 4, -1], [4, 5, -1]]
    assert distances.tolist() == [[1, 2, np.inf], [1, 1, np.inf]]


def test_products_reuse_their_memory() -> None:
    products, generator = Products(), np.random.default_rng(0)
    for rows in (5, 3, 8):
        first, second = (generator.integers(-9, 9, (n, 4)).astype(np.float32) for n in (rows, 6))
        assert np.array_equal(products.of(first, second), first @ second.T)
