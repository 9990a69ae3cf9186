"""The same rows in other files, row groups and orders give the same bytes and counts."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from competition.data.metadata import write_metadata
from participant_kit.assets import WORDNET
from participant_kit.subsets import STRATEGIES, StrategyOptions, SubsetReport, build_subset
from tests.participant_kit.subsets.synthetic import unit

ROWS = 90
CAPTIONS = (
    "a photo of a small dog in the garden",
    "two dogs and a bicycle near the house",
    "ein Foto von einem kleinen Hund im Garten",
    "une photo d'un chien dans le jardin",
    "dog",
    "",
    "image 1234",
    "this is an old wooden table with flowers on it",
)
SIZES = ((256, 256), (100, 400), (1000, 250), (640, 480), (200, 200))
FILES = {"synset_ids", "centroids", "target_features"}
CASES: dict[str, dict[str, Any]] = {
    "no_filter": {},
    "basic_filter": {},
    "clip_score": {"arch": "l14", "fraction": 0.3},
    "laion2b": {},
    "text_based": {"synset_ids": "synsets.txt"},
    "image_based": {"centroids": "centroids.npy", "target_features": "targets.npz"},
    "image_based_intersect_clip_score": {
        "centroids": "centroids.npy",
        "target_features": "targets.npz",
        "arch": "b32",
        "fraction": 0.6,
    },
    "image_sampling": {"centroids": "centroids.npy", "target_features": "targets.npz", "size": 60, "seed": 1},
    "text_sampling": {"synset_ids": "synsets.txt", "size": 60, "seed": 1},
    "random": {"fraction": 0.4, "seed": 1},
    "clip_score_diverse": {"fraction": 0.5},
    "clip_score_english": {"fraction": 0.5},
    "simcore": {"target_features": "targets.npz", "num_clusters": 5, "budget": 0.3},
    "score_fusion": {"columns": ["clip_l14_similarity_score", "original_width:-0.5"], "fraction": 0.3},
    "k_center": {"size": 20, "seed": 1},
    "cluster_quota": {"centroids": "centroids.npy", "by": "clip_b32_similarity_score", "size": 40},
    "reference_distance": {"target_features": "targets.npz", "neighbours": 3, "fraction": 0.3},
}
BATCHES_WITHIN_A_FILE = {"clip_score_diverse"}
"""Its scores compare a pair with others of its file, so only orders may differ."""
FIRST_OF_EQUAL_ROWS = {"simcore"}
"""Rows are numbered in the order of files, so only the borders between files may differ."""

Rows = tuple[dict[str, list[Any]], dict[str, NDArray[Any]]]


def _rows() -> Rows:
    """Rows of every kind: ties and missing scores, many languages, one uid on several rows."""
    generator = np.random.default_rng(7)
    uids = [generator.bytes(16).hex() for _ in range(ROWS)]
    uids[5] = uids[60] = uids[7]
    sizes = [SIZES[number] for number in generator.integers(0, len(SIZES), ROWS)]
    images, texts = (unit(generator.standard_normal((ROWS, 64))).astype(np.float16) for _ in range(2))
    images[11] = images[10]
    columns: dict[str, list[Any]] = {
        "uid": uids,
        "url": [""] * ROWS,
        "text": [CAPTIONS[number] for number in generator.integers(0, len(CAPTIONS), ROWS)],
        "original_width": [width for width, _ in sizes],
        "original_height": [height for _, height in sizes],
        "face_bboxes": [[]] * ROWS,
        "sha256": ["0" * 64] * ROWS,
    }
    for name in ("clip_b32_similarity_score", "clip_l14_similarity_score"):
        scores = generator.integers(0, 20, ROWS).astype(np.float32) / 20
        scores[3] = np.nan
        columns[name] = scores.tolist()
    return columns, {"l14_img": images, "l14_txt": texts}


def _write(folder: Path, rows: Rows, order: NDArray[np.int64], cuts: list[int], row_group: int) -> None:
    columns, features = rows
    bounds = [0, *sorted(cuts), ROWS]
    for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
        chosen = order[start:stop]
        part = {name: [values[row] for row in chosen] for name, values in columns.items()}
        arrays = {name: values[chosen] for name, values in features.items()}
        path = write_metadata(folder, f"{number:032x}", part, arrays)
        pq.write_table(pq.ParquetFile(path).read(), path, row_group_size=row_group)


def _options(assets: Path, strategy: str) -> StrategyOptions:
    given = CASES[strategy]
    return StrategyOptions(**given | {name: assets / given[name] for name in FILES & set(given)})


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assets")
    generator = np.random.default_rng(3)
    np.save(folder / "centroids.npy", unit(generator.standard_normal((8, 64))).astype(np.float32))
    np.savez(folder / "targets.npz", l14_img=unit(generator.standard_normal((30, 64))).astype(np.float16))
    (folder / "synsets.txt").write_text("n02084071\nn02834778\n")  # dog, bicycle
    return folder


def test_every_strategy_has_a_case() -> None:
    assert set(CASES) == set(STRATEGIES)


@pytest.mark.parametrize("strategy", CASES)
def test_other_files_row_groups_and_orders_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, assets: Path, strategy: str
) -> None:
    if strategy == "laion2b" and importlib.util.find_spec("gcld3") is None:
        pytest.skip("gcld3 is absent")
    if strategy.startswith("text") and not (WORDNET.system_path and WORDNET.system_path.is_dir()):
        pytest.skip("WordNet 3.0 is absent (Debian: wordnet-base)")
    rows, options = _rows(), _options(assets, strategy)

    def made(order: NDArray[np.int64], cuts: list[int], row_group: int) -> tuple[bytes, SubsetReport]:
        folder = tmp_path_factory.mktemp("pool")
        _write(folder / "m", rows, order, cuts, row_group)
        report = build_subset(strategy, folder / "m", folder / "s.npy", options)
        return (folder / "s.npy").read_bytes(), report

    expected, first = made(np.arange(ROWS), [], ROWS)

    @settings(max_examples=8)
    @given(st.permutations(range(ROWS)), st.lists(st.integers(0, ROWS), max_size=5), st.integers(1, 50))
    def check(order: list[int], cuts: list[int], row_group: int) -> None:
        rows_in_order = sorted(order) if strategy in FIRST_OF_EQUAL_ROWS else order
        borders = [] if strategy in BATCHES_WITHIN_A_FILE else cuts
        found, report = made(np.array(rows_in_order), borders, row_group)
        assert found == expected
        counts = report.total, report.kept, report.dropped, report.repeats, report.shared_uids
        assert counts == (first.total, first.kept, first.dropped, first.repeats, first.shared_uids)

    assert 0 < first.kept != first.total or strategy == "no_filter"
    check()
