"""Building a subset file: the record beside it, the same bytes every time, and going on after a kill."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import competition
from competition.errors import DataFormatError, StorageError, UsageError
from competition.progress import Progress
from participant_kit.subsets import StrategyOptions, build_subset, pool
from tests.participant_kit.subsets.synthetic import write_pool


def test_the_file_is_the_originals_byte_for_byte_and_the_record_says_how_it_was_made(
    golden: Path, tmp_path: Path
) -> None:
    folder, save_path = golden / "datacomp_filters", tmp_path / "subsets" / "basic.npy"
    report = build_subset("basic_filter", folder / "metadata", save_path, workers=2)
    expected = (folder / "expected" / "basic_filter.npy").read_bytes()
    assert save_path.read_bytes() == expected
    record = json.loads((tmp_path / "subsets" / "basic.npy.json").read_text())
    assert record == report.as_json()
    assert record["subset_sha256"] == hashlib.sha256(expected).hexdigest()
    assert record["kept"] + sum(record["dropped"].values()) == record["total"] == 10500
    assert record["assets"]["language_model"] == {
        "file": "lid.176.ftz",
        "sha256": "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
    }
    assert record["code_version"] == competition.__version__
    assert str(tmp_path) not in json.dumps(record)
    assert sorted(path.name for path in save_path.parent.iterdir()) == ["basic.npy", "basic.npy.json"]


def test_progress_goes_through_every_stage(tmp_path: Path) -> None:
    write_pool(tmp_path / "m")
    seen: list[Progress] = []
    options = StrategyOptions(arch="l14", fraction=0.3)
    report = build_subset("clip_score", tmp_path / "m", tmp_path / "s.npy", options, progress=seen.append)
    assert [(p.stage, p.done) for p in seen] == [
        (stage, done)
        for stage in ("reading scores", "finding the threshold", "filtering by score")
        for done in range(4)
    ]
    assert report.options == {"arch": "l14", "fraction": 0.3}
    assert report.kept == 181  # n + 1 of 600 rows


def test_a_run_that_stopped_at_a_damaged_file_goes_on_after_the_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of a quick strategy are kept where the pool is too large for memory."""
    monkeypatch.setattr(pool, "MEMORY_ROWS", 100)
    write_pool(tmp_path / "m")
    damaged = tmp_path / "m" / f"{1:032x}.parquet"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:4] + bytes(200) + content[204:])
    with pytest.raises(DataFormatError, match="is damaged"):
        build_subset("no_filter", tmp_path / "m", tmp_path / "s.npy")
    assert not (tmp_path / "s.npy").exists()
    assert len(list((tmp_path / ".s.npy.parts").glob("*.npy"))) == 2
    damaged.write_bytes(content)
    seen: list[Progress] = []
    build_subset("no_filter", tmp_path / "m", tmp_path / "s.npy", progress=seen.append)
    assert len(np.load(tmp_path / "s.npy")) == 600
    assert not (tmp_path / ".s.npy.parts").exists()


@pytest.mark.parametrize("options", [StrategyOptions(), StrategyOptions(arch="b32", fraction=0.4)])
def test_a_pool_larger_than_memory_gives_the_same_subset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: StrategyOptions
) -> None:
    name = "clip_score" if options.given() else "no_filter"
    write_pool(tmp_path / "m")
    build_subset(name, tmp_path / "m", tmp_path / "memory.npy", options)
    monkeypatch.setattr(pool, "MEMORY_ROWS", 20)
    build_subset(name, tmp_path / "m", tmp_path / "merged.npy", options, workers=2)
    assert (tmp_path / "memory.npy").read_bytes() == (tmp_path / "merged.npy").read_bytes()
    assert not (tmp_path / ".merged.npy.parts").exists()


def test_unfinished_work_of_other_options_is_not_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MEMORY_ROWS", 100)
    write_pool(tmp_path / "m")
    (tmp_path / "reference").mkdir()
    options = StrategyOptions(arch="l14", threshold=0.5)
    build_subset("clip_score", tmp_path / "m", tmp_path / "reference" / "s.npy", options)
    damaged = tmp_path / "m" / f"{2:032x}.parquet"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:4] + bytes(200) + content[204:])
    with pytest.raises(DataFormatError):
        build_subset("no_filter", tmp_path / "m", tmp_path / "s.npy")
    damaged.write_bytes(content)
    build_subset("clip_score", tmp_path / "m", tmp_path / "s.npy", options)
    assert (tmp_path / "s.npy").read_bytes() == (tmp_path / "reference" / "s.npy").read_bytes()


def test_wrong_paths_and_names_are_said(tmp_path: Path) -> None:
    write_pool(tmp_path / "m", files=1, rows=5)
    with pytest.raises(UsageError, match=r"does not end in \.npy"):
        build_subset("no_filter", tmp_path / "m", tmp_path / "s.txt")
    write_pool(tmp_path / "pool" / "metadata", files=1, rows=5)
    with pytest.raises(UsageError, match=r"pool is a pool\."):
        build_subset("no_filter", tmp_path / "pool", tmp_path / "s.npy")
    with pytest.raises(UsageError, match="no strategy 'bset'"):
        build_subset("bset", tmp_path / "m", tmp_path / "s.npy")
    with pytest.raises(StorageError, match="No such file"):
        build_subset("no_filter", tmp_path / "absent", tmp_path / "s.npy")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="creating the folder"):
        build_subset("no_filter", tmp_path / "m", tmp_path / "file" / "s.npy")


def test_a_filter_that_keeps_nothing_is_an_error_and_replaces_nothing(tmp_path: Path) -> None:
    write_pool(tmp_path / "m")
    build_subset("no_filter", tmp_path / "m", tmp_path / "s.npy")
    before = (tmp_path / "s.npy").read_bytes()
    too_strict = StrategyOptions(arch="l14", threshold=2.0)
    with pytest.raises(UsageError, match=r"clip_score keeps none of the 600 samples \(score too low 600\)"):
        build_subset("clip_score", tmp_path / "m", tmp_path / "s.npy", too_strict)
    assert (tmp_path / "s.npy").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "s.npy", "s.npy.json"]


def test_a_second_process_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    write_pool(tmp_path / "m", files=1)
    (tmp_path / "out").mkdir()
    refusals: list[str] = []

    def again(_progress: Progress) -> None:
        with pytest.raises(UsageError, match="Another process makes this subset") as refused:
            build_subset("no_filter", tmp_path / "m", tmp_path / "out" / "a.npy")
        refusals.append(refused.value.hint)
        build_subset("no_filter", tmp_path / "m", tmp_path / "out" / "b.npy")

    build_subset("no_filter", tmp_path / "m", tmp_path / "out" / "a.npy", progress=again)
    assert "--save-path" in refusals[0]
    names = ["a.npy", "a.npy.json", "b.npy", "b.npy.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    (tmp_path / "m" / f"{0:032x}.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataFormatError):
        build_subset("no_filter", tmp_path / "m", tmp_path / "out" / "a.npy")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
