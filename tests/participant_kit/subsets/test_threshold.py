"""The streamed threshold equals the one computed from all scores, for any scores, fraction, files and workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.data.engine import LocalEngine
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.threshold import fraction_threshold, pool_threshold

# Few different values, so that ties at the cut, both zeros, both infinities and NaN all occur often.
SCORE = st.sampled_from([0.0, -0.0, 0.25, -0.25, 1e-45, -1e-45, np.inf, -np.inf, np.nan]) | st.floats(width=32)
FRACTION = st.floats(0, 1, exclude_min=True) | st.sampled_from([0.1, 0.29, 0.3, 1.0])


def _pool(folder: Path, parts: list[list[float]], workers: int = 1) -> MetadataPool:
    files = tuple(folder / f"{number:032x}.parquet" for number in range(len(parts)))
    for path, scores in zip(files, parts, strict=True):
        pq.write_table(pa.table({"clip_l14_similarity_score": pa.array(scores, type=pa.float32())}), path)
    return MetadataPool(files, LocalEngine(workers))


@given(st.lists(st.lists(SCORE), min_size=1, max_size=4), FRACTION, st.integers(1, 2))
def test_the_streamed_threshold_is_that_of_all_scores(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[float]], fraction: float, workers: int
) -> None:
    pool = _pool(tmp_path_factory.mktemp("pool"), parts, workers)
    scores = np.array([score for part in parts for score in part], dtype=np.float32)
    streamed = pool_threshold(pool, "clip_l14_similarity_score", fraction)
    assert streamed.dtype == np.float32
    assert streamed == fraction_threshold(scores, fraction)
    rank = int(len(scores) * fraction)
    original = -np.sort(-scores)
    if rank < len(scores) and not np.isnan(original[rank]):
        assert streamed == original[rank], "DataComp's own expression"


def test_a_missing_score_counts_as_a_row_that_is_never_kept(tmp_path: Path) -> None:
    pool = _pool(tmp_path, [[0.1, None, 0.3], [None, 0.2]])  # type: ignore[list-item]
    assert pool_threshold(pool, "clip_l14_similarity_score", 0.4) == np.float32(0.1)
    assert pool_threshold(pool, "clip_l14_similarity_score", 0.6) == -np.inf


def test_more_files_than_tasks_are_read_in_groups(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).normal(size=300).astype(np.float32)
    pool = _pool(tmp_path, [[float(score)] for score in scores], workers=2)
    assert pool_threshold(pool, "clip_l14_similarity_score", 0.3) == fraction_threshold(scores, 0.3)
