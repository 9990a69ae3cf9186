"""Merged parts equal one sort of everything, whatever the uids, the parts and the memory; and memory is bounded."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.data.merge import merge_subsets, merged_blocks
from competition.data.uids import UID_DTYPE, UidArray, save_subset, sort_uids
from competition.errors import DataFormatError, StorageError

# Few distinct halves, so that duplicates, equal f0 with different f1 and the top bit all occur often.
PAIR = st.tuples(st.sampled_from([0, 1, 2**63, 2**64 - 1]), st.integers(0, 3))
ANY_PAIR = PAIR | st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))


def _uids(pairs: list[tuple[int, int]]) -> UidArray:
    return np.array(pairs, dtype=UID_DTYPE)


def _random(count: int, seed: int) -> UidArray:
    words = np.random.default_rng(seed).integers(0, 2**64, (count, 2), dtype=np.uint64, endpoint=False)
    return sort_uids(words.view(UID_DTYPE).reshape(-1))


def _save(folder: Path, runs: list[UidArray]) -> list[Path]:
    paths = [folder / f"part{number}.npy" for number in range(len(runs))]
    for path, run in zip(paths, runs, strict=True):
        save_subset(path, run)
    return paths


@given(st.lists(st.lists(ANY_PAIR)), st.integers(1, 40))
def test_blocks_together_are_the_sorted_union(parts: list[list[tuple[int, int]]], memory_rows: int) -> None:
    runs = [sort_uids(_uids(part)) for part in parts]
    blocks = list(merged_blocks(runs, memory_rows))
    merged = [uid for block in blocks for uid in block.tolist()]
    assert merged == sorted(pair for part in parts for pair in part)
    assert all(0 < len(block) <= max(memory_rows, len(runs)) for block in blocks)


@pytest.mark.parametrize("memory_rows", [10, 999, 5000])
def test_a_merge_through_files_equals_one_in_memory(tmp_path: Path, memory_rows: int) -> None:
    runs = [_random(count, count) for count in (1000, 1, 3, 2000)]
    expected = sort_uids(np.concatenate(runs))
    merged = merge_subsets(_save(tmp_path, runs), tmp_path / "all.npy", memory_rows)
    assert np.array_equal(merged, expected)
    assert (tmp_path / "all.npy").exists() == (len(expected) > memory_rows)
    save_subset(tmp_path / "copy.npy", merged)
    np.save(tmp_path / "numpy.npy", expected)
    assert (tmp_path / "copy.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_no_parts_and_empty_parts_give_no_uids(tmp_path: Path) -> None:
    assert len(merge_subsets([], tmp_path / "all.npy")) == 0
    assert len(merge_subsets(_save(tmp_path, [_uids([]), _uids([])]), tmp_path / "all.npy", 1)) == 0


def test_a_uid_keeps_its_multiplicity_over_parts(tmp_path: Path) -> None:
    runs = [_uids([(1, 1)] * 5), _uids([(1, 1)] * 7), _uids([(0, 9), (1, 1), (1, 2)])]
    merged = merge_subsets(_save(tmp_path, runs), tmp_path / "all.npy", 3)
    assert merged.tolist() == [(0, 9), *[(1, 1)] * 13, (1, 2)]


def test_more_parts_than_files_may_be_open_are_merged(tmp_path: Path) -> None:
    runs = [_random(20, seed) for seed in range(300)]
    paths = _save(tmp_path, runs)
    most = len(list(Path("/proc/self/fd").iterdir())) + 160
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        merged = [merge_subsets(paths, tmp_path / "all.npy", rows) for rows in (3_000, 10_000)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert all(np.array_equal(found, sort_uids(np.concatenate(runs))) for found in merged)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["all.npy", *(path.name for path in paths)])


def test_an_unsorted_part_is_refused_not_merged_wrongly(tmp_path: Path) -> None:
    paths = _save(tmp_path, [_random(50, 0), _random(50, 1)])
    np.save(paths[0], _random(50, 0)[::-1])
    with pytest.raises(DataFormatError, match="not sorted"):
        merge_subsets(paths, tmp_path / "all.npy", 10)


def test_an_absent_part_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        merge_subsets([tmp_path / "absent.npy"], tmp_path / "all.npy")
