"""The benchmarks' pool is DataComp's in form, the same from the same seed, and made once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.made_pool import MadePool, PoolRecipe, make_pool
from competition.data.metadata import SCHEMA, list_metadata, pool_uids
from competition.data.shards import list_shards, read_samples

SMALL = PoolRecipe(files=2, rows=3000, shards=2, samples=5, image_bytes=1000, seed=3)


def _digests(pool: MadePool) -> dict[str, str]:
    files = [path for path in pool.root.rglob("*") if path.is_file()]
    return {str(path.relative_to(pool.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _table(pool: MadePool) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in list_metadata(pool.metadata)])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again = make_pool(SMALL, tmp_path / "a"), make_pool(SMALL, tmp_path / "b")
    assert _digests(first) == _digests(again)
    other = make_pool(PoolRecipe(files=2, rows=3000, shards=2, samples=5, image_bytes=1000, seed=4), tmp_path / "a")
    assert not set(_digests(first).values()) & {v for k, v in _digests(other).items() if not k.endswith("stats.json")}


def test_a_pool_is_made_once(tmp_path: Path) -> None:
    pool = make_pool(SMALL, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in pool.root.rglob("*")}
    assert make_pool(SMALL, tmp_path) == pool
    assert {path: path.stat().st_mtime_ns for path in pool.root.rglob("*")} == before


def test_metadata_has_datacomps_columns_and_what_filters_trip_over(tmp_path: Path) -> None:
    pool = make_pool(SMALL, tmp_path)
    table = _table(pool)
    assert table.schema.equals(SCHEMA)
    assert table.num_rows == 6000
    uids = pool_uids(pool.metadata)
    assert len(np.unique(uids)) < len(uids)
    scores = np.asarray(table["clip_l14_similarity_score"])
    assert np.isnan(scores).any()
    assert len(np.unique(scores)) < len(scores)
    texts = table["text"].to_pylist()
    assert "" in texts
    assert any("\n" in text for text in texts)
    assert any("画" in text for text in texts)


def test_shards_hold_the_first_rows_of_their_metadata_file(tmp_path: Path) -> None:
    pool = make_pool(SMALL, tmp_path)
    shards = list_shards(pool.shards)
    assert [shard.number for shard in shards.shards] == [0, 1]
    samples = list(read_samples(shards.shards[0].path))
    assert [sample.key for sample in samples] == [f"{index:012d}" for index in range(5)]
    assert all(set(sample.members) == {"jpg", "json", "txt"} for sample in samples)
    assert sum(len(sample.members["jpg"]) for sample in samples) > 2000
