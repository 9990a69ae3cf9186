"""What a reshard can do beside copying in pool order: ranges, shuffles, tolerance, images, an index, URLs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import fsspec  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3
from PIL import Image

from competition.data.digests import file_sha256
from competition.data.shards import Sample, list_shards, read_samples, write_shard
from competition.errors import DataFormatError, StorageError, UsageError
from competition.progress import Progress
from participant_kit.pools.index import INDEX_NAME, build_index
from participant_kit.reshard import ImageChange, Options, reshard
from participant_kit.reshard.images import blur_boxes
from participant_kit.reshard.remote import reshard_anywhere
from participant_kit.reshard.selection import Selection, load_selection
from tests.participant_kit.test_reshard import ROOT, output_samples, tree, write_pool, write_subset


def keys(folder: Path) -> list[str]:
    return [key for _, key, _ in output_samples(folder)]


# --- order ----------------------------------------------------------------------------------------------------------


def test_copies_of_a_sample_are_kept_apart(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool", shards=2, samples=30)
    chosen = uids + uids[::2] + uids[::10] * 3
    reshard(tmp_path / "pool", tmp_path / "out", write_subset(tmp_path / "s.npy", chosen), shard_size=16)
    found = keys(tmp_path / "out")
    places: dict[str, list[int]] = {}
    for place, key in enumerate(found):
        places.setdefault(key[:32], []).append(place)
    assert Counter(key[:32] for key in found) == Counter(chosen)
    for own in places.values():
        gaps = [after - before for before, after in pairwise(own)]
        assert all(gap >= len(found) // len(own) // 2 for gap in gaps)


def test_a_seed_shuffles_everything_the_same_way_every_time(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", uids + uids[:7])
    for name, seed, workers in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1), ("plain", None, 1)):
        options = Options(shuffle_seed=seed)
        reshard(tmp_path / "pool", tmp_path / name, subset, workers=workers, shard_size=9, options=options)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    orders = [keys(tmp_path / name) for name in ("a", "c", "plain")]
    assert Counter(orders[0]) == Counter(orders[1]) == Counter(orders[2])
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert Counter(output_sizes(tmp_path / "a")) == {9: 7, 4: 1}
    assert {key: members for _, key, members in output_samples(tmp_path / "a")} == {
        key: members for _, key, members in output_samples(tmp_path / "plain")
    }


@pytest.mark.parametrize("seed", [None, 3])
def test_an_order_across_the_pool_reads_every_selection_a_fixed_number_of_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int | None
) -> None:
    read: Counter[str] = Counter()

    def counted(path: Path) -> Selection:
        read[path.name] += 1
        return load_selection(path)

    for module in ("run", "passes", "pooled"):
        monkeypatch.setattr(f"participant_kit.reshard.{module}.load_selection", counted, raising=False)
    uids = write_pool(tmp_path / "pool", shards=5)
    subset = write_subset(tmp_path / "s.npy", uids * 2)
    seen = []
    for size in (50, 2):
        read.clear()
        reshard(tmp_path / "pool", tmp_path / f"{size}", subset, shard_size=size, options=Options(shuffle_seed=seed))
        seen.append(Counter(read))
    assert seen[0] == seen[1]  # 4 output shards, or 100 of them
    assert keys(tmp_path / "50") == keys(tmp_path / "2")


def output_sizes(folder: Path) -> list[int]:
    return list(json.loads((folder / "sizes.json").read_text()).values())


def test_only_shards_of_the_chosen_numbers_are_used(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool", shards=4)
    subset = write_subset(tmp_path / "s.npy", uids)
    report = reshard(tmp_path / "pool", tmp_path / "out", subset, options=Options(first_shard=1, num_shards=2))
    assert keys(tmp_path / "out") == [f"{uid}-0" for uid in uids[20:60]]
    assert report.not_found == 40
    with pytest.raises(UsageError, match="no shard with a number in the chosen range"):
        reshard(tmp_path / "pool", tmp_path / "out2", subset, options=Options(first_shard=9))


def test_the_manifest_has_every_shards_digest(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", uids)
    reshard(tmp_path / "pool", tmp_path / "out", subset, shard_size=25)
    shards = json.loads((tmp_path / "out" / "manifest.json").read_text())["shards"]
    assert [(s["name"], s["samples"]) for s in shards] == [
        (f"{n:08d}.tar", size) for n, size in enumerate([25, 25, 10])
    ]
    for shard in shards:
        path = tmp_path / "out" / shard["name"]
        assert (shard["bytes"], shard["blake3"]) == (path.stat().st_size, blake3(path.read_bytes()).hexdigest())
    with (tmp_path / "out" / "00000001.tar").open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(UsageError, match="not empty"):  # what was changed since is neither taken for ours nor replaced
        reshard(tmp_path / "pool", tmp_path / "out", subset, shard_size=25)


def test_padding_and_foreign_headers_of_the_pool_do_not_reach_the_output(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool", shards=1, samples=3)
    (tmp_path / "dirty").mkdir()
    content = bytearray((tmp_path / "pool" / "00000000.tar").read_bytes())
    assert content[512 + 300 : 1024] == bytes(212)
    content[512 + 300 : 1024] = b"\xaa" * 212
    (tmp_path / "dirty" / "00000000.tar").write_bytes(content)
    subset = write_subset(tmp_path / "s.npy", uids)
    for name in ("pool", "dirty"):
        reshard(tmp_path / name, tmp_path / f"out-{name}", subset)
    out = [(tmp_path / f"out-{name}" / "00000000.tar").read_bytes() for name in ("pool", "dirty")]
    assert out[0] == out[1]


def test_members_larger_than_any_buffer_and_of_every_rest(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    sizes = [0, 1, 511, 512, 513, 262_143, 262_144, 700_001, 3]
    samples = [
        Sample(f"{i}", {"bin": generator.bytes(size), "json": b'{"uid": "%032x"}' % i}) for i, size in enumerate(sizes)
    ]
    (tmp_path / "pool").mkdir()
    write_shard(tmp_path / "pool", 0, samples)
    subset = write_subset(tmp_path / "s.npy", [f"{i:x}" for i in range(len(sizes))])
    for workers in (1, 3):
        reshard(tmp_path / "pool", tmp_path / f"out{workers}", subset, workers=workers)
        (tmp_path / f"expected{workers}").mkdir()
        write_shard(
            tmp_path / f"expected{workers}", 0, [Sample(f"{i:032x}-0", s.members) for i, s in enumerate(samples)]
        )
        got = (tmp_path / f"out{workers}" / "00000000.tar").read_bytes()
        assert got == (tmp_path / f"expected{workers}" / "00000000.tar").read_bytes()


# --- faults ---------------------------------------------------------------------------------------------------------


def test_damage_fails_the_run_unless_tolerated_and_keeps_what_lies_before_it(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", uids)
    path = tmp_path / "pool" / "00000001.tar"
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(DataFormatError, match=r"00000001\.tar is damaged at byte \d+") as error:
        reshard(tmp_path / "pool", tmp_path / "out", subset)
    assert "--tolerate 1" in error.value.hint
    report = reshard(tmp_path / "pool", tmp_path / "out", subset, options=Options(tolerate=1))
    assert len(report.damaged_shards) == 1
    assert 0 < report.not_found < 20
    assert any("00000001.tar is damaged" in warning for warning in report.warnings)
    found = keys(tmp_path / "out")
    assert found == [f"{uid}-0" for uid in uids if f"{uid}-0" in found]
    assert len(found) == 60 - report.not_found


def test_what_was_tolerated_is_not_finished_once_it_is_no_longer_tolerated_or_repaired(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    subset, out = write_subset(tmp_path / "s.npy", uids), tmp_path / "out"
    reshard(tmp_path / "pool", tmp_path / "sound", subset, shard_size=7)
    path = tmp_path / "pool" / "00000001.tar"
    sound = path.read_bytes()
    path.write_bytes(sound[:20_480] + b"x" * 1024 + sound[21_504:])  # as many bytes
    tolerant = Options(tolerate=1)
    report = reshard(tmp_path / "pool", out, subset, shard_size=7, options=tolerant)
    assert report.output_count < len(uids)
    before = tree(out)
    assert reshard(tmp_path / "pool", out, subset, shard_size=7, options=tolerant) == report
    with pytest.raises(DataFormatError, match=r"00000001\.tar is damaged") as error:
        reshard(tmp_path / "pool", out, subset, shard_size=7)
    assert "--tolerate 1" in error.value.hint
    path.touch()  # changed, and as damaged as before: what was tolerated stays
    with pytest.raises(DataFormatError, match=r"00000001\.tar is damaged"):
        reshard(tmp_path / "pool", out, subset, shard_size=7)
    assert {name: data for name, data in tree(out).items() if not name.startswith(".")} == before
    path.write_bytes(sound)
    assert reshard(tmp_path / "pool", out, subset, shard_size=7).output_count == len(uids)
    assert tree(out) == tree(tmp_path / "sound")


@pytest.mark.parametrize("indexed", [False, True])
def test_a_selected_sample_whose_json_is_gone_counts_against_tolerate(tmp_path: Path, indexed: bool) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    samples = [
        Sample("000", {"jpg": b"1", "json": b'{"uid": "1"}'}),
        Sample("001", {"jpg": b"2"}),
        Sample("002", {"jpg": b"3", "json": b'{"uid": "%032x", ' % 3}),
        Sample("003", {"jpg": b"4"}),
    ]
    write_shard(pool, 0, samples)
    subset = write_subset(tmp_path / "s.npy", ["1", "2", "2", "3"])
    if indexed:
        build_index(pool)
    without_log = reshard(pool, tmp_path / "a", subset, options=Options(tolerate=1))
    assert (without_log.lost, without_log.unknown, without_log.not_found) == (
        1,
        2,
        3,
    )  # the json that breaks off is known
    assert any("2 of the skipped samples" in warning for warning in without_log.warnings)
    log = {"key": ["000", "001", "002", "003"], "uid": [f"{n:032x}" for n in (1, 2, 3, 9)]}
    pq.write_table(pa.table(log), pool / "00000000.parquet")
    with pytest.raises(DataFormatError, match=r"3 entries of .* whose json cannot be read"):
        reshard(pool, tmp_path / "out", subset, options=Options(tolerate=2))
    report = reshard(pool, tmp_path / "out", subset, options=Options(tolerate=3))
    assert (report.lost, report.output_count, report.not_found) == (3, 1, 3)
    assert report.skipped == {"malformed json": 1, "no json member": 2}
    assert report.unknown == 0


@pytest.mark.parametrize("indexed", [False, True])
def test_a_sample_with_an_extension_too_long_for_its_new_name_is_skipped_and_counted(
    tmp_path: Path, indexed: bool
) -> None:
    (tmp_path / "pool").mkdir()
    samples = [
        Sample(f"{number}", {"json": b'{"uid": "%d"}' % number, "x" * length: b"1"})
        for number, length in enumerate((65, 66, 64, 65, 65), start=1)
    ]
    write_shard(tmp_path / "pool", 0, samples)
    if indexed:
        build_index(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", ["1", "2", "2", *["3"] * 11, *["4"] * 11])  # the 11th copy is number 10
    report = reshard(tmp_path / "pool", tmp_path / "out", subset)
    assert report.skipped == {"extension too long": 2}
    assert (report.processed_count, report.output_count, report.not_found, report.lost) == (3, 12, 13, 0)
    assert report.miscounted_shards == []
    assert Counter(key[31] for key in keys(tmp_path / "out")) == {"1": 1, "3": 11}
    assert max(len(name) for s in read_samples(tmp_path / "out" / "00000000.tar") for name in s.members) == 65


@pytest.mark.parametrize("content", ["no parquet", "no uid", "numbers", "empty"])
def test_a_damaged_log_is_named_and_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "pool").mkdir()
    write_shard(tmp_path / "pool", 0, [Sample("000", {"json": b'{"uid": "1"}'}), Sample("001", {"jpg": b"2"})])
    subset, log = write_subset(tmp_path / "s.npy", ["1", "2"]), tmp_path / "pool" / "00000000.parquet"
    if content in {"no uid", "numbers"}:
        pq.write_table(pa.table({"key": ["001"], "uid": ["no hex"] if content == "no uid" else [2]}), log)
    else:
        log.write_bytes(b"" if content == "empty" else b"PAR1" + b"x" * 100)
    report = reshard(tmp_path / "pool", tmp_path / "out", subset)
    assert (report.lost, report.unknown, report.output_count, report.not_found) == (0, 1, 1, 1)
    (warning,) = report.damaged_logs
    assert re.match(r"The log .*00000000\.parquet is damaged \(.+\): which of the 1 samples without", warning)
    assert warning in report.warnings


# --- the pool's index -----------------------------------------------------------------------------------------------


def test_with_the_index_the_output_is_the_same_and_a_changed_shard_is_read_again(golden: Path, tmp_path: Path) -> None:
    pool, subset = tmp_path / "pool", golden / "datacomp_reshard" / "subset.npy"
    pool.mkdir()
    for path in (golden / "datacomp_reshard" / "shards").iterdir():
        (pool / path.name).write_bytes(path.read_bytes())
    plain = reshard(pool, tmp_path / "plain", subset, shard_size=60)
    report = build_index(pool, workers=2)
    assert (report.samples, report.shards, report.skipped) == (596, 3, {"no json member": 4})
    assert reshard(pool, tmp_path / "indexed", subset, shard_size=60) == plain
    assert tree(tmp_path / "indexed") == tree(tmp_path / "plain")
    table = pq.read_table(pool / INDEX_NAME).to_pydict()
    with (pool / table["shard"][-1]).open("rb") as stream:
        stream.seek(table["offset"][-1])
        header = stream.read(512)
        stream.seek(table["offset"][-1])
        assert table["uid"][-1].hex().encode() in stream.read(table["length"][-1])
    assert header[257:262] == b"ustar"
    (pool / "00000001.tar").write_bytes((pool / "00000002.tar").read_bytes())
    for name in ("changed", "unindexed"):
        reshard(pool, tmp_path / name, subset, shard_size=60)
        (pool / INDEX_NAME).unlink(missing_ok=True)
    assert tree(tmp_path / "changed") == tree(tmp_path / "unindexed") != tree(tmp_path / "plain")


def test_an_index_that_lies_is_damage(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool", shards=1)
    build_index(tmp_path / "pool")
    path = tmp_path / "pool" / "00000000.tar"
    state = path.stat()
    path.write_bytes(path.read_bytes().replace(uids[0].encode(), uids[0][::-1].encode()))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(DataFormatError, match="does not hold what the pool's index says"):
        reshard(tmp_path / "pool", tmp_path / "out", write_subset(tmp_path / "s.npy", uids))


# --- images ---------------------------------------------------------------------------------------------------------


def picture_pool(folder: Path) -> list[str]:
    folder.mkdir()
    generator = np.random.default_rng(0)
    uids, samples = [], []
    for row in range(4):
        stream = io.BytesIO()
        Image.fromarray(generator.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(stream, "JPEG", quality=95)
        uids.append(f"{row + 1:032x}")
        boxes = [[0.25, 0.25, 0.5, 0.75]] if row % 2 else []
        members = {"jpg": stream.getvalue() if row != 3 else b"no picture", "txt": b"x"}
        members["json"] = json.dumps({"uid": uids[-1], "face_bboxes": boxes}).encode()
        samples.append(Sample(f"{row}", members))
    write_shard(folder, 0, samples)
    return uids


def test_faces_are_blurred_only_where_there_are_boxes(tmp_path: Path) -> None:
    uids = picture_pool(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", [*uids, uids[1]])
    report = reshard(tmp_path / "pool", tmp_path / "out", subset, options=Options(change=ImageChange(True, 100)))
    before = [sample.members for sample in read_samples(tmp_path / "pool" / "00000000.tar")]
    after = {s.key: s.members for s in read_samples(tmp_path / "out" / "00000000.tar")}
    assert after[f"{uids[0]}-0"] == before[0]
    assert after[f"{uids[3]}-0"] == before[3]
    assert (report.changed_images, report.unchangeable_images) == (2, 1)
    assert json.loads((tmp_path / "out" / "meta.json").read_text())["changed_images"] == 2
    for copy in (0, 1):
        blurred = after[f"{uids[1]}-{copy}"]
        assert list(blurred) == ["webp", "txt", "json"]
        assert (blurred["txt"], blurred["json"]) == (before[1]["txt"], before[1]["json"])
        old, new = (
            np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
            for data in (before[1]["jpg"], blurred["webp"])
        )
        assert new[18:42, 25:35].std() < old[18:42, 25:35].std() / 2
        assert np.abs(new[:, 70:] - old[:, 70:]).mean() < 12


def test_every_image_is_encoded_anew_when_asked(tmp_path: Path) -> None:
    uids = picture_pool(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", uids[:3])
    report = reshard(tmp_path / "pool", tmp_path / "out", subset, options=Options(change=ImageChange(False, 30)))
    assert report.changed_images == 3
    for sample in read_samples(tmp_path / "out" / "00000000.tar"):
        assert Image.open(io.BytesIO(sample.members["webp"])).format == "WEBP"
        assert "jpg" not in sample.members


@pytest.mark.parametrize("blur", [True, False])
def test_an_image_too_large_for_webp_is_copied_as_it_is_and_counted(tmp_path: Path, blur: bool) -> None:
    stream = io.BytesIO()
    Image.new("L", (16_384, 2)).save(stream, "PNG")
    described = json.dumps({"uid": "1", "face_bboxes": [[0.1, 0.1, 0.2, 0.9]]}).encode()
    (tmp_path / "pool").mkdir()
    write_shard(tmp_path / "pool", 0, [Sample("0", {"png": stream.getvalue(), "json": described})])
    subset = write_subset(tmp_path / "s.npy", ["1"])
    report = reshard(tmp_path / "pool", tmp_path / "out", subset, options=Options(change=ImageChange(blur, 90)))
    assert (report.output_count, report.changed_images, report.unchangeable_images) == (1, 0, 1)
    (sample,) = read_samples(tmp_path / "out" / "00000000.tar")
    assert sample.members == {"png": stream.getvalue(), "json": described}


def test_blur_leaves_flat_pictures_flat_and_far_pixels_alone() -> None:
    flat = np.full((40, 50, 3), 128, dtype=np.uint8)
    assert np.abs(blur_boxes(flat, [[0.1, 0.1, 0.9, 0.9]]).astype(int) - 128).max() <= 1
    noise = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    done = blur_boxes(noise, [[0.1, 0.1, 0.2, 0.2]])
    assert np.abs(done[50:, 50:].astype(int) - noise[50:, 50:]).max() <= 1
    assert np.array_equal(blur_boxes(noise, [[0.1, 0.1, 0.1, 0.1]]), noise)


# --- URLs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("indexed", [False, True])
def test_pool_and_output_may_be_urls(tmp_path: Path, indexed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uids = write_pool(tmp_path / "pool")
    if indexed:
        build_index(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", uids[::3] + uids[:5])
    plain = reshard(tmp_path / "pool", tmp_path / "plain", subset, shard_size=9)
    memory = fsspec.filesystem("memory")
    name = f"memory://{tmp_path.name}-{indexed}"
    memory.put(f"{tmp_path}/pool", f"{name}/pool", recursive=True)
    out = f"{name}/out"
    report = reshard_anywhere(f"{name}/pool", out, str(subset), 2, 9)
    assert report == plain
    memory.get(out, f"{tmp_path}/back/", recursive=True)
    assert tree(next((tmp_path / "back").rglob("meta.json")).parent) == tree(tmp_path / "plain")
    assert not list(tmp_path.glob("datacup-reshard-*"))
    assert reshard_anywhere(f"{name}/pool", out, str(subset), 1, 9) == report  # finished: returned
    with pytest.raises(UsageError, match="not empty"):
        reshard_anywhere(f"{name}/pool", out, str(subset), 1, 10)
    reshard_anywhere(f"file://{tmp_path}/pool", f"file://{tmp_path}/out", str(subset), 1, 9)
    assert tree(tmp_path / "out") == tree(tmp_path / "plain")


@pytest.mark.parametrize("remote_pool", [False, True])
def test_a_finished_remote_output_is_that_of_the_pool_as_it_is(
    tmp_path: Path, remote_pool: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uids = write_pool(tmp_path / "pool", shards=3)
    subset, memory = str(write_subset(tmp_path / "s.npy", uids)), fsspec.filesystem("memory")
    name = f"memory://{tmp_path.name}-{remote_pool}"
    source = f"{name}/pool" if remote_pool else str(tmp_path / "pool")

    def publish(shard: str, content: bytes) -> None:
        (tmp_path / "pool" / shard).write_bytes(content)
        if remote_pool:
            memory.pipe(f"{source}/{shard}", content)

    shards = {path.name: path.read_bytes() for path in (tmp_path / "pool").glob("*.tar")}
    for shard, content in shards.items():
        publish(shard, content if shard != "00000001.tar" else content[:20_480] + b"x" * 1024 + content[21_504:])
    out, tolerant = f"{name}/out", Options(tolerate=1)
    report = reshard_anywhere(source, out, subset, 1, 7, options=tolerant)
    assert report.output_count < len(uids)
    assert reshard_anywhere(source, out, subset, 1, 7, options=tolerant) == report
    with pytest.raises(DataFormatError, match=r"00000001\.tar is damaged"):
        reshard_anywhere(source, out, subset, 1, 7)
    publish("00000001.tar", shards["00000001.tar"])
    assert reshard_anywhere(source, out, subset, 1, 7).output_count == len(uids)
    reshard(tmp_path / "pool", tmp_path / "plain", Path(subset), shard_size=7)
    memory.get(out, f"{tmp_path}/back/", recursive=True)
    assert tree(next((tmp_path / "back").rglob("meta.json")).parent) == tree(tmp_path / "plain")
    publish("00000003.tar", shards["00000000.tar"])
    with pytest.raises(UsageError, match="not empty"):
        reshard_anywhere(source, out, subset, 1, 7)


def test_a_second_reshard_from_and_to_the_same_urls_is_kept_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    subset = str(write_subset(tmp_path / "s.npy", write_pool(tmp_path / "pool")))
    source, out = str(tmp_path / "pool"), f"memory://{tmp_path.name}-twice/out"
    refused: list[str] = []

    def meanwhile(progress: Progress) -> None:
        with pytest.raises(UsageError, match="Another process runs the same reshard"):
            reshard_anywhere(source, out, subset)
        refused.append(progress.stage)

    reshard_anywhere(source, out, subset, progress=meanwhile)
    assert set(refused) == {"indexing shards", "writing shards", "sending shards"}


def test_where_the_scratch_folder_is_made_is_said_when_it_is_at_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    subset = str(write_subset(tmp_path / "s.npy", write_pool(tmp_path / "pool", image_bytes=30_000)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"while writing .*datacup-reshard-.*") as error:
            reshard_anywhere(str(tmp_path / "pool"), f"memory://{tmp_path.name}-full/out", subset)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "TMPDIR says where it is made" in error.value.hint


def test_urls_that_lead_nowhere_are_one_sentence(tmp_path: Path) -> None:
    subset = str(write_subset(tmp_path / "s.npy", ["1"]))
    with pytest.raises(UsageError, match="cannot be opened"):
        reshard_anywhere("nosuch://pool", str(tmp_path / "out"), subset)
    with pytest.raises(DataFormatError, match="holds no shard"):
        reshard_anywhere("memory://absent-pool", str(tmp_path / "out"), subset)


# --- kills anywhere -------------------------------------------------------------------------------------------------

RUN = """
import sys
from pathlib import Path
from participant_kit.reshard import Options, reshard
if __name__ == "__main__":
    f = Path(sys.argv[1])
    print("started", flush=True)
    reshard(f / "pool", f / "out", f / "s.npy", 2, 40, options=Options(shuffle_seed=1))
"""


def test_killed_at_any_moment_and_run_again_equals_one_pass(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool", shards=6, samples=150, image_bytes=20_000)
    subset = write_subset(tmp_path / "s.npy", uids * 2)
    options = Options(shuffle_seed=1)
    reshard(tmp_path / "pool", tmp_path / "reference", subset, 2, 40, options=options)
    script = tmp_path / "run.py"
    script.write_text(RUN)
    draw = random.Random(0)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)], env=environment, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(draw.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)
    reshard(tmp_path / "pool", tmp_path / "out", subset, 2, 40, options=options)
    assert tree(tmp_path / "out") == tree(tmp_path / "reference")
    assert len(list_shards(tmp_path / "out").shards) == 45
    assert hashlib.sha256((tmp_path / "out" / "sample_ids.npy").read_bytes()).hexdigest() == file_sha256(subset)


def test_what_a_run_killed_at_its_very_end_left_is_removed(tmp_path: Path) -> None:
    subset = write_subset(tmp_path / "s.npy", write_pool(tmp_path / "pool", shards=1))
    report = reshard(tmp_path / "pool", tmp_path / "out", subset)
    finished = tree(tmp_path / "out")
    (tmp_path / "out" / ".reshard").mkdir()
    (tmp_path / "out" / ".reshard" / "00000000.tar.selected").touch()
    assert reshard(tmp_path / "pool", tmp_path / "out", subset) == report
    assert tree(tmp_path / "out") == finished
