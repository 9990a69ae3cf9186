"""The shard index: its size and the work of reading it grow with the pool, not with its square."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from competition.data.shards import Sample, write_shard
from participant_kit.pools.index import INDEX_NAME, build_index, load_index


def write_pool(folder: Path, shards: int, first: int = 0) -> Path:
    """One sample a shard; its uid is the shard's number."""
    folder.mkdir(exist_ok=True)
    for number in range(first, shards):
        members = {"txt": b"x", "json": json.dumps({"uid": f"{number:032x}"}).encode()}
        write_shard(folder, number, [Sample(f"{number:08d}0000", members)])
    return folder


def test_twice_the_shards_make_an_index_twice_as_large(tmp_path: Path) -> None:
    sizes = []
    for shards in (150, 300):
        folder = write_pool(tmp_path / "shards", shards, first=0 if not sizes else 150)
        build_index(folder)
        sizes.append((folder / INDEX_NAME).stat().st_size)
    assert sizes[1] < 2.2 * sizes[0]


def test_the_footer_is_read_once_until_the_index_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    footers: list[Path] = []

    def read(path: Path) -> Any:
        footers.append(path)
        return own(path)

    own = pq.read_metadata
    monkeypatch.setattr(pq, "read_metadata", read)
    for shards in (5, 7):
        folder = write_pool(tmp_path / "shards", shards)
        build_index(folder)
        found = load_index(folder)
        assert found is not None
        uids = [found.read(name).uids["f1"].tolist() for name in sorted(found.shards)]
        assert uids == [[number] for number in range(shards)]
    assert len(footers) == 2
