"""The kept index: nothing unchanged is read again, whatever has changed is, and what is damaged is made anew."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 - what a spawned worker does with a source
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from competition.data.shards import Sample, write_shard
from competition.progress import Progress
from participant_kit.train.data import shards as shard_sources
from participant_kit.train.data.choice import DataChoice, keep_indexes, open_data
from participant_kit.train.data.shard_index import keep_index, open_indexed_shards
from participant_kit.train.data.shards import ARRAYS, ShardSource, open_shards
from participant_kit.train.data.source import TrainingSet
from tests.participant_kit.train.conftest import MakeShards, make_recipe, make_sample, train_on


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the shards that were hashed, as they were."""
    hashed: list[str] = []
    own = shard_sources.file_sha256

    def record(path: Path) -> str:
        hashed.append(path.name)
        return own(path)

    monkeypatch.setattr(shard_sources, "file_sha256", record)
    return hashed


def quiet(_progress: Progress) -> None:
    pass


def same(one: ShardSource, other: ShardSource) -> bool:
    arrays = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in (*ARRAYS, "firsts"))
    return arrays and (one.paths, one.parts, one.states) == (other.paths, other.parts, other.states)


def test_a_kept_index_is_mapped_and_no_shard_is_read(shards: MakeShards, tmp_path: Path, read: list[str]) -> None:
    folder, index = shards(), tmp_path / "index"
    fresh = open_indexed_shards(folder, index, 1, quiet)
    assert not index.exists(), "opening writes nothing"
    kept = keep_index(fresh, index)
    read.clear()
    again = open_indexed_shards(folder, index, 1, quiet)
    assert read == []
    assert same(fresh, kept)
    assert same(fresh, again)
    for name in ARRAYS:
        assert isinstance(getattr(again, name), np.memmap)
        assert not getattr(again, name).flags.writeable
    assert [again.read(place) for place in range(30)] == [fresh.read(place) for place in range(30)]


def test_a_mapped_source_travels_without_its_arrays(shards: MakeShards, tmp_path: Path) -> None:
    folder = shards()
    source = open_shards(folder, 1, quiet)
    kept = keep_index(source, tmp_path / "index")
    packed = pickle.dumps(kept)
    assert all(getattr(kept, name).tobytes() not in packed for name in ARRAYS)
    for arrived in (pickle.loads(packed), pickle.loads(pickle.dumps(source))):
        assert same(arrived, source)
        assert arrived.read(13) == source.read(13)
    assert isinstance(pickle.loads(packed).images, np.memmap)


def test_only_what_changed_is_read_again(shards: MakeShards, tmp_path: Path, read: list[str]) -> None:
    folder, index = shards(), tmp_path / "index"
    keep_index(open_shards(folder, 1, quiet), index)
    write_shard(folder, 1, [make_sample(number) for number in range(100, 107)])
    write_shard(folder, 5, [make_sample(200)])
    (folder / "00000002.tar").unlink()
    read.clear()
    again = open_indexed_shards(folder, index, 1, quiet)
    assert sorted(read) == ["00000001.tar", "00000005.tar"]
    assert same(again, open_shards(folder, 1, quiet))
    assert same(keep_index(again, index), again)
    read.clear()
    assert same(open_indexed_shards(folder, index, 1, quiet), again)
    assert read == []


def test_content_of_the_same_size_at_another_time_is_read(shards: MakeShards, tmp_path: Path, read: list[str]) -> None:
    folder, index = shards(), tmp_path / "index"
    before = keep_index(open_shards(folder, 1, quiet), index)
    path = folder / "00000000.tar"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"a red square", b"a sad square"))
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, before.states[0][1] + 1))
    read.clear()
    assert open_indexed_shards(folder, index, 1, quiet).parts[0].sha256 != before.parts[0].sha256
    assert read == ["00000000.tar"]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _change(path: Path) -> None:
    """One bit of a number, behind the middle of the file."""
    content = bytearray(path.read_bytes())
    digits = b"0123456789" if path.suffix == ".json" else bytes(range(256))
    place = next(place for place in range(len(content) // 2, len(content)) if content[place] in digits)
    content[place] ^= 1
    path.write_bytes(content)


def _of_strings(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, np.array(["x"]))


@pytest.mark.parametrize("name", ["index.json", *(f"{name}.npy" for name in ARRAYS)])
@pytest.mark.parametrize("damage", [_cut, _change, Path.unlink, _of_strings])
def test_a_damaged_index_is_not_there_and_is_made_again(
    shards: MakeShards, tmp_path: Path, read: list[str], damage: Callable[[Path], None], name: str
) -> None:
    folder, index = shards(), tmp_path / "index"
    expected = open_shards(folder, 1, quiet)
    keep_index(expected, index)
    damage(index / name)
    read.clear()
    again = open_indexed_shards(folder, index, 1, quiet)
    assert len(read) == 3
    assert same(again, expected)
    keep_index(again, index)
    read.clear()
    assert same(open_indexed_shards(folder, index, 1, quiet), expected)
    assert read == []


def test_labels_of_another_table_are_another_index(shards: MakeShards, tmp_path: Path, read: list[str]) -> None:
    folder, index = shards(), tmp_path / "index"
    labels = {number.to_bytes(16, "big"): number % 3 for number in range(30)}
    keep_index(open_indexed_shards(folder, index, 1, quiet, labels), index)
    read.clear()
    same_table = dict(reversed(labels.items()))
    assert open_indexed_shards(folder, index, 1, quiet, same_table).labels.tolist() == [n % 3 for n in range(30)]
    assert read == []
    assert set(open_indexed_shards(folder, index, 1, quiet).labels.tolist()) == {-1}
    other = labels | {bytes(16): 9}
    assert open_indexed_shards(folder, index, 1, quiet, other).labels[0] == 9
    assert len(read) == 6


def test_a_run_keeps_the_index_and_does_not_read_its_shards_again(
    shards: MakeShards, tmp_path: Path, read: list[str]
) -> None:
    folder = shards()
    report = train_on(make_recipe(steps=2), [folder], tmp_path / "out", "run")
    assert len(read) == 3
    assert sorted(path.name for path in (tmp_path / "out/run/index/source-0").iterdir()) == sorted(
        ["index.json", *(f"{name}.npy" for name in ARRAYS)]
    )
    assert train_on(make_recipe(steps=2), [folder], tmp_path / "out", "run") == report
    assert len(read) == 3
    follower = open_data(DataChoice.parse(str(folder)), tmp_path / "out/run", 1, quiet)
    assert follower.digest == report.data.digest
    assert len(read) == 3


def test_each_of_several_sources_has_its_own(shards: MakeShards, tmp_path: Path, read: list[str]) -> None:
    first, second = shards(), shards([make_sample(number) for number in range(40, 60)], "second")
    choice = DataChoice.parse(f"{first}::{second}", "1::2")
    kept = keep_indexes(open_data(choice, tmp_path / "run", 1, quiet), tmp_path / "run")
    read.clear()
    again = open_data(choice, tmp_path / "run", 1, quiet)
    assert read == []
    assert isinstance(again, TrainingSet)
    assert (again.digest, again.weights) == (kept.digest, (1.0, 2.0))


def test_a_shard_without_samples_has_its_place(shards: MakeShards, tmp_path: Path) -> None:
    folder = shards([make_sample(0), Sample("b", make_sample(1).members)])
    (folder / "00000001.tar").write_bytes(bytes(10240))
    kept = keep_index(open_shards(folder, 1, quiet), tmp_path / "index")
    assert [part.samples for part in kept.parts] == [2, 0]
    assert same(open_indexed_shards(folder, tmp_path / "index", 1, quiet), kept)
