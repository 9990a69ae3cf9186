"""Neighbours: exact ones are those of a plain product, approximate ones nearly so, and built the same in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from competition.data.vector_index import IndexOptions
from competition.data.vector_search import Neighbours, build_index, exact_neighbours, measure_recall, recall_of
from competition.data.vector_source import VectorSource
from competition.errors import DataFormatError, UsageError
from tests.competition.data.vectors import clustered, save

ROWS, DIMENSIONS = 12_000, 32


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> VectorSource:
    """Three files; two rows are not finite."""
    folder = tmp_path_factory.mktemp("vectors")
    vectors = clustered(ROWS, DIMENSIONS)
    vectors[[5, 9_000]] = np.nan
    names = ("a.npy", "b.npz", "c.npy")
    cuts = (0, 5_000, 9_500, ROWS)
    return VectorSource.open(
        [save(folder / name, vectors[cuts[n] : cuts[n + 1]]) for n, name in enumerate(names)], "l14_img"
    )


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return clustered(ROWS + 40, DIMENSIONS)[ROWS:]


def plain(queries: np.ndarray, k: int) -> np.ndarray:
    vectors = clustered(ROWS, DIMENSIONS)
    products = queries @ vectors.T
    products[:, [5, 9_000]] = -np.inf
    return np.argsort(-products, axis=1, kind="stable")[:, :k]


def test_exact_neighbours_are_those_of_the_whole_product(source: VectorSource, queries: np.ndarray) -> None:
    for workers in (1, 2):
        found = exact_neighbours(source, queries, 10, workers)
        assert np.array_equal(found.rows, plain(queries, 10))
    assert (np.diff(found.similarities, axis=1) <= 0).all()


def test_more_neighbours_than_a_file_or_the_pool_has_usable_rows(tmp_path: Path) -> None:
    vectors = clustered(6, 4)
    vectors[2] = np.nan
    source = VectorSource.open([save(tmp_path / "a.npy", vectors[:3]), save(tmp_path / "b.npy", vectors[3:])])
    found = exact_neighbours(source, vectors[:1], 6)
    assert sorted(found.rows[0, :5].tolist()) == [0, 1, 3, 4, 5]
    assert (found.rows[0, 5], found.similarities[0, 5]) == (-1, -np.inf)


@pytest.mark.parametrize("kind", ["ivf-pq", "hnsw"])
def test_an_approximate_index_finds_nearly_all_and_says_how_many(
    source: VectorSource, queries: np.ndarray, tmp_path: Path, kind: str
) -> None:
    index = build_index(source, IndexOptions(kind), tmp_path)
    recall = measure_recall(index, queries, 10)
    assert recall.value >= 0.95
    assert (recall.k, recall.queries) == (10, 40)
    found = index.search(queries, 10)
    true = exact_neighbours(source, queries, 10)
    assert recall_of(found, true) == recall
    same = found.rows[:, 0] == true.rows[:, 0]
    assert found.similarities[same, 0] == pytest.approx(true.similarities[same, 0], abs=1e-6)  # exact ones
    written = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.faiss")}
    again = build_index(source, IndexOptions(kind), tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.faiss")} == written
    assert np.array_equal(again.search(queries, 10).rows, found.rows)


def test_an_index_of_several_files_is_one_of_all(source: VectorSource, queries: np.ndarray, tmp_path: Path) -> None:
    """With all lists searched and everything compared, the index leaves nothing out."""
    options = IndexOptions("ivf-pq", lists=16, probes=16, refine=ROWS // 10)
    index = build_index(source, options, tmp_path, workers=2)
    assert len(index.parts) == 1
    assert index.parts[0].ntotal == ROWS - 2
    assert np.array_equal(index.search(queries[:4], 10).rows, plain(queries[:4], 10))


def test_a_killed_build_goes_on(source: VectorSource, queries: np.ndarray, tmp_path: Path) -> None:
    options = IndexOptions("ivf-pq", lists=16)
    whole = build_index(source, options, tmp_path / "whole").search(queries, 5)
    build_index(source, options, tmp_path / "again")
    shards = sorted((tmp_path / "again").glob("0*.faiss"))
    kept = shards[0].stat().st_mtime_ns
    shards[1].unlink()
    found = build_index(source, options, tmp_path / "again").search(queries, 5)
    assert np.array_equal(found.rows, whole.rows)
    assert shards[0].stat().st_mtime_ns == kept


def test_recall_counts_what_is_as_near_as_the_last_true_one() -> None:
    true = Neighbours(np.array([[0.9, 0.5]], np.float32), np.array([[3, 4]]))
    for similarities, rows, expected in (
        ([0.9, 0.5], [3, 4], 1.0),
        ([0.9, 0.5], [3, 7], 1.0),
        ([0.9, 0.4], [3, 7], 0.5),
        ([-np.inf, -np.inf], [-1, -1], 0.0),
    ):
        found = Neighbours(np.array([similarities], np.float32), np.array([rows]))
        assert recall_of(found, true).value == expected


def test_searches_that_make_no_sense_are_refused(source: VectorSource, queries: np.ndarray, tmp_path: Path) -> None:
    index = build_index(source, IndexOptions("flat"), tmp_path)
    assert measure_recall(index, queries).value == 1.0
    cases: list[tuple[type[Exception], str, np.ndarray, int]] = [
        (UsageError, "12001 neighbours are wanted of 12,000 vectors", queries, ROWS + 1),
        (UsageError, "0 neighbours", queries, 0),
        (DataFormatError, "queries have 16 dimensions, a.npy has 32", clustered(4, 16), 5),
        (DataFormatError, "has length 2", 2 * queries, 5),
        (DataFormatError, "is not finite", np.where(np.eye(40, 32) > 0, np.nan, queries), 5),
    ]
    for kind, message, wrong, k in cases:
        with pytest.raises(kind, match=message):
            index.search(wrong, k)
    with pytest.raises(UsageError, match="There is no index 'annoy'"):
        build_index(source, IndexOptions("annoy"), tmp_path)
    with pytest.raises(UsageError, match="must be at least 1"):
        build_index(source, IndexOptions(probes=0), tmp_path)
    few = VectorSource.open([save(tmp_path / "few.npy", clustered(300, 8))])
    with pytest.raises(UsageError, match="300 vectors are too few"):
        build_index(few, IndexOptions(), tmp_path / "few")
