"""The resharder: the original's samples byte for byte, exact counts, nothing lost by kills, damage or full disks."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from competition.data.shards import Sample, list_shards, read_samples, write_shard
from competition.data.uids import parse_uids, save_subset, sort_uids
from competition.errors import DataFormatError, EngineError, StorageError, UsageError
from competition.progress import Progress
from participant_kit.reshard import Options, ReshardReport, reshard

ROOT = Path(__file__).resolve().parents[2]


def write_pool(folder: Path, shards: int = 3, samples: int = 20, image_bytes: int = 300) -> list[str]:
    """A pool of ``shards * samples`` distinct samples; returns their uids in pool order."""
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True)
    uids: list[str] = []
    for shard in range(shards):
        content = []
        for row in range(samples):
            uid = generator.bytes(16).hex()
            uids.append(uid)
            members = {
                "jpg": generator.bytes(image_bytes + row),
                "txt": f"caption {row}".encode(),
                "json": json.dumps({"uid": uid, "key": f"{row:09d}"}).encode(),
            }
            content.append(Sample(f"{shard:05d}{row:04d}", members))
        write_shard(folder, shard, content)
    return uids


def write_subset(path: Path, uids: list[str]) -> Path:
    save_subset(path, sort_uids(parse_uids(uids)))
    return path


def output_samples(folder: Path) -> list[tuple[str, str, dict[str, str]]]:
    """(shard, key, {extension: sha256}) of every output sample, in order."""
    return [
        (shard.name, sample.key, {ext: hashlib.sha256(data).hexdigest() for ext, data in sample.members.items()})
        for shard in list_shards(folder).shards
        for sample in read_samples(shard.path)
    ]


def tree(folder: Path) -> dict[str, bytes]:
    """Content of every file, by path; the lock of an output folder, which says nothing, is left out."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


# --- fidelity -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "shard_size"), [(1, 60), (2, 60), (2, 10_000), (1, 7)])
@pytest.mark.parametrize("subset", ["subset.npy", "subset_raw_memmap.bin"])
def test_samples_equal_those_of_the_original(
    golden: Path, tmp_path: Path, workers: int, shard_size: int, subset: str
) -> None:
    folder = golden / "datacomp_reshard"
    report = reshard(
        folder / "shards",
        tmp_path / "out",
        folder / subset,
        workers=workers,
        shard_size=shard_size,
    )
    lines = (folder / "expected" / "samples.jsonl").read_text().splitlines()
    expected = Counter((line["key"], str(sorted(line["members"].items()))) for line in map(json.loads, lines))
    found = output_samples(tmp_path / "out")
    assert Counter((key, str(sorted(members.items()))) for _, key, members in found) == expected
    # Two pool samples of one uid may be neighbours, as they are in the pool; copies of one sample never are.
    assert all(a[:32] != b[:32] or a == b for (_, a, _), (_, b, _) in pairwise(found))
    assert (report.processed_count, report.output_count) == (596, 215)
    assert report.skipped == {"no json member": 4}
    assert (tmp_path / "out" / "sample_ids.npy").read_bytes() == (folder / "subset.npy").read_bytes()


def test_not_found_counts_uids_and_not_the_difference_of_totals(golden: Path, tmp_path: Path) -> None:
    folder = golden / "datacomp_reshard"
    report = reshard(folder / "shards", tmp_path / "out", folder / "subset.npy")
    pool: Counter[str] = Counter()
    for shard in list_shards(folder / "shards").shards:
        for sample in read_samples(shard.path, {"json"}):
            if "json" in sample.members:
                pool[json.loads(sample.members["json"])["uid"].rjust(32, "0")] += 1
    subset = [f"{high:016x}{low:016x}" for high, low in np.load(folder / "subset.npy").tolist()]
    foreign = [uid for uid in subset if uid not in pool]
    assert report.not_found == len(foreign) > 0
    assert report.not_found_examples == sorted(set(foreign))[:5]
    assert report.repeated_count == sum(pool[uid] - 1 for uid in subset if uid in pool) > 0
    assert report.output_count + report.not_found == report.subset_size + report.repeated_count


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.data())
def test_any_subset_gives_its_samples_in_the_documented_order_and_full_shards(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("reshard")
    uids = write_pool(folder / "pool", shards=data.draw(st.integers(1, 3)), samples=data.draw(st.integers(1, 5)))
    chosen = data.draw(st.lists(st.sampled_from(uids), min_size=1, max_size=20))
    shard_size = data.draw(st.integers(1, 8))
    report = reshard(folder / "pool", folder / "out", write_subset(folder / "s.npy", chosen), shard_size=shard_size)
    selected = [uid for uid in uids if uid in chosen]
    places = [
        ((copy + rank / len(selected)) / chosen.count(uid), rank, f"{uid}-{copy}")
        for rank, uid in enumerate(selected)
        for copy in range(chosen.count(uid))
    ]
    expected = [key for _, _, key in sorted(places)]
    if len(set(chosen)) == len(chosen):
        assert expected == [f"{uid}-0" for uid in uids if uid in chosen]
    found = output_samples(folder / "out")
    assert [key for _, key, _ in found] == expected
    full, rest = divmod(len(expected), shard_size)
    sizes = {f"{n:08d}.tar": size for n, size in enumerate([shard_size] * full + [rest] * (rest > 0))}
    assert Counter(shard for shard, _, _ in found) == sizes
    assert json.loads((folder / "out" / "sizes.json").read_text()) == sizes
    for name, size in sizes.items():
        assert json.loads((folder / "out" / name.replace(".tar", "_stats.json")).read_text()) == {"successes": size}
    assert report.output_shard_count == len(sizes)


def test_the_output_is_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", uids[::2] * 2 + uids[::5])
    for workers in (1, 2, 3):
        reshard(tmp_path / "pool", tmp_path / f"out{workers}", subset, workers=workers, shard_size=7)
    assert tree(tmp_path / "out1") == tree(tmp_path / "out2") == tree(tmp_path / "out3")


def test_meta_is_the_report_and_names_no_path(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    seen: list[Progress] = []
    subset = write_subset(tmp_path / "s.npy", uids)
    report = reshard(tmp_path / "pool", tmp_path / "out", subset, shard_size=25, progress=seen.append)
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    assert meta == report.as_json()
    assert meta["output_shard_count"] == 3
    assert meta["output_shard_format"].format(2) == "00000002.tar"
    assert meta["subset_sha256"] == hashlib.sha256(subset.read_bytes()).hexdigest()
    assert str(tmp_path) not in json.dumps(meta)
    assert report.warnings == []
    assert [(p.stage, p.done, p.total) for p in seen] == [
        (stage, done, 3) for stage in ("indexing shards", "writing shards") for done in range(4)
    ]


def test_samples_that_cannot_be_looked_up_are_counted_by_reason(tmp_path: Path) -> None:
    contents = [b'{"uid": "1"}', b"{", b"[]", b'{"uid": 1}', b'{"uid": "xyz"}', b'{"caption": ""}', b"\xff"]
    samples = [Sample(f"{i}", {"jpg": b"", "json": content}) for i, content in enumerate(contents)]
    (tmp_path / "pool").mkdir()
    write_shard(tmp_path / "pool", 2, [*samples, Sample("last", {"jpg": b""})])
    write_shard(tmp_path / "pool", 0, [], {"successes": 3})
    subset = write_subset(tmp_path / "s.npy", ["1", "2", "2"])
    report = reshard(tmp_path / "pool", tmp_path / "out", subset)
    assert report.skipped == {"malformed json": 2, "malformed uid": 1, "no json member": 1, "no uid in the json": 3}
    assert (report.processed_count, report.output_count, report.not_found) == (1, 1, 2)
    assert report.gaps == [[1, 1]]
    assert report.miscounted_shards == ["00000000.tar"]
    assert report.unknown == 7
    assert len(report.warnings) == 8


# --- refusals -------------------------------------------------------------------------------------------------------


def test_bad_subsets_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool", shards=1)
    np.save(tmp_path / "unsorted.npy", parse_uids(sorted(uids, reverse=True)))
    save_subset(tmp_path / "empty.npy", parse_uids([]))
    for name, message in (("unsorted", "is not sorted"), ("empty", "holds no uids")):
        with pytest.raises(DataFormatError, match=message):
            reshard(tmp_path / "pool", tmp_path / "out", tmp_path / f"{name}.npy")
    assert not (tmp_path / "out").exists()


def write_metadata_uids(folder: Path, uids: list[str]) -> None:
    folder.mkdir(parents=True)
    for number, part in enumerate((uids[::2], uids[1::2])):
        pq.write_table(pa.table({"uid": part}), folder / f"{number:032x}.parquet")


@pytest.mark.parametrize("known", [0, 3])
def test_uids_that_never_were_in_the_pool_are_an_error_and_leave_the_folder_usable(tmp_path: Path, known: int) -> None:
    pool, out = tmp_path / "pool", tmp_path / "out"
    uids = write_pool(pool / "shards", shards=1)
    write_metadata_uids(pool / "metadata", uids)
    foreign = write_subset(tmp_path / "foreign.npy", ["1" * 32, "2" * 32, "2" * 32, *uids[:known]])
    message = rf"2 uids of .*foreign\.npy are neither in .* nor in its metadata \(first: {'1' * 32}, {'2' * 32}\)"
    with pytest.raises(DataFormatError, match=message) as error:
        reshard(pool / "shards", out, foreign, options=Options(tolerate=1))
    assert "--tolerate 2" in error.value.hint
    assert [path.name for path in out.iterdir()] == [".lock"]
    reshard(pool / "shards", out, write_subset(tmp_path / "s.npy", uids))


def test_foreign_uids_are_counted_and_left_out_where_that_is_tolerated(tmp_path: Path) -> None:
    pool, out, options = tmp_path / "pool", tmp_path / "out", Options(tolerate=7)
    uids = write_pool(pool / "shards", shards=1)
    write_metadata_uids(pool / "metadata", ["0" * 32, *uids])
    foreign = [f"{n:x}" * 32 for n in range(1, 8)]
    subset = write_subset(tmp_path / "s.npy", ["0" * 32, *foreign, foreign[0], *uids[:3]])
    report = reshard(pool / "shards", out, subset, options=options)
    assert (report.output_count, report.not_found, report.foreign) == (3, 9, 7)
    assert report.foreign_examples == foreign[:5]
    assert any("7 of them are not in the pool's metadata either" in warning for warning in report.warnings)
    assert reshard(pool / "shards", out, subset, options=options) == report
    with pytest.raises(DataFormatError, match="7 uids of"):
        reshard(pool / "shards", out, subset)


def test_images_that_are_gone_are_left_out_and_counted(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool" / "shards", shards=1)
    gone = ["1" * 32, "2" * 32]
    write_metadata_uids(tmp_path / "pool" / "metadata", [*gone, *uids])
    subset = write_subset(tmp_path / "s.npy", [*gone, *uids])
    report = reshard(tmp_path / "pool" / "shards", tmp_path / "out", subset)
    assert (report.output_count, report.not_found, report.not_found_examples) == (len(uids), 2, gone)


def test_a_subset_without_any_sample_is_an_error(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool", shards=1)
    foreign = write_subset(tmp_path / "foreign.npy", ["1", "2"])
    with pytest.raises(DataFormatError, match="None of the 2 uids"):
        reshard(tmp_path / "pool", tmp_path / "out", foreign)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_the_output_folder_is_never_overwritten_unasked(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool", shards=1)
    all_uids, few = write_subset(tmp_path / "a.npy", uids), write_subset(tmp_path / "b.npy", uids[:3])
    with pytest.raises(UsageError, match="same folder"):
        reshard(tmp_path / "pool", tmp_path / "pool" / ".", all_uids)
    with pytest.raises(UsageError, match="shard size is 0"):
        reshard(tmp_path / "pool", tmp_path / "out", all_uids, shard_size=0)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tar").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="not empty"):
            reshard(tmp_path / "pool", other, all_uids, options=Options(overwrite=overwrite))
    assert [path.name for path in other.iterdir()] == ["thesis.tar"]
    assert tree(other) == {"thesis.tar": b"precious"}
    reshard(tmp_path / "pool", tmp_path / "out", all_uids, shard_size=5)
    with pytest.raises(UsageError, match="not empty"):
        reshard(tmp_path / "pool", tmp_path / "out", few)
    reshard(tmp_path / "pool", tmp_path / "out", few, options=Options(overwrite=True))
    assert len(output_samples(tmp_path / "out")) == 3


def test_a_second_reshard_of_the_same_kind_is_kept_out(tmp_path: Path) -> None:
    subset = write_subset(tmp_path / "s.npy", write_pool(tmp_path / "pool"))
    refused: list[str] = []

    def meanwhile(progress: Progress) -> None:
        with pytest.raises(UsageError, match="Another process is resharding in"):
            reshard(tmp_path / "pool", tmp_path / "out", subset, options=Options(overwrite=True))
        refused.append(progress.stage)

    report = reshard(tmp_path / "pool", tmp_path / "out", subset, progress=meanwhile)
    assert {"indexing shards", "writing shards"} == set(refused)
    assert reshard(tmp_path / "pool", tmp_path / "out", subset) == report


def test_a_finished_run_is_returned_and_not_repeated(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool", shards=1)
    subset = write_subset(tmp_path / "s.npy", uids)
    first = reshard(tmp_path / "pool", tmp_path / "out", subset)
    inode = (tmp_path / "out" / "00000000.tar").stat().st_ino
    assert reshard(tmp_path / "pool", tmp_path / "out", subset) == first
    assert (tmp_path / "out" / "00000000.tar").stat().st_ino == inode


# --- damage, kills, full disks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_shard_is_named_and_after_its_repair_the_run_goes_on(tmp_path: Path, workers: int) -> None:
    uids = write_pool(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", uids)
    damaged = tmp_path / "pool" / "00000001.tar"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:10_000])
    with pytest.raises(DataFormatError, match=r"00000001\.tar is damaged at byte \d+"):
        reshard(tmp_path / "pool", tmp_path / "out", subset, workers=workers)
    assert not list((tmp_path / "out").glob("*.tar"))
    damaged.write_bytes(content)
    seen: list[Progress] = []
    reshard(tmp_path / "pool", tmp_path / "out", subset, workers=workers, progress=seen.append)
    assert (seen[0].stage, seen[0].resumed) == ("indexing shards", 2)
    assert len(output_samples(tmp_path / "out")) == len(uids)


RUN_AND_DIE = """
import os, signal, sys
from pathlib import Path
from participant_kit.reshard import reshard

def die(progress):
    if progress.stage == sys.argv[1] and progress.done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    folder = Path(sys.argv[2])
    reshard(folder / "pool", folder / "out", folder / "s.npy", workers=int(sys.argv[3]), shard_size=7, progress=die)
"""


@pytest.mark.parametrize("stage", ["indexing shards", "writing shards"])
@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_and_run_again_equals_one_pass(tmp_path: Path, stage: str, workers: int) -> None:
    uids = write_pool(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", uids * 2)
    reshard(tmp_path / "pool", tmp_path / "reference", subset, shard_size=7)
    script = tmp_path / "run.py"
    script.write_text(RUN_AND_DIE)
    killed = subprocess.run(
        [sys.executable, str(script), stage, str(tmp_path), str(workers)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    out = tmp_path / "out"
    assert not (out / "meta.json").exists()
    assert len(list(out.glob("*.tar"))) >= (2 if stage == "writing shards" else 0)
    lines = (out / ".reshard" / "output.jsonl").read_text().splitlines()[1:] if stage == "writing shards" else []
    before = {name: (out / name).stat().st_ino for name in (json.loads(line)["task"] for line in lines)}
    (out / ".00000009.tar.0123.partial").write_bytes(b"left by the kill")
    seen: list[Progress] = []
    reshard(tmp_path / "pool", out, subset, workers=workers, shard_size=7, progress=seen.append)
    assert tree(out) == tree(tmp_path / "reference")
    assert {name: (out / name).stat().st_ino for name in before} == before
    assert next(p.resumed for p in seen if p.stage == stage) == 2


def test_what_a_worker_killed_in_this_run_left_is_not_delivered(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    subset, out = write_subset(tmp_path / "s.npy", uids), tmp_path / "out"

    def leave(progress: Progress) -> None:
        if (progress.stage, progress.done) == ("writing shards", 1):
            (out / ".00000001.tar.0123.partial").write_bytes(b"half a shard")

    reshard(tmp_path / "pool", out, subset, shard_size=7, progress=leave)
    assert not [name for name in tree(out) if name.startswith(".")]


def test_an_unfinished_run_of_another_subset_is_not_mixed_in(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    subset, few = write_subset(tmp_path / "s.npy", uids), write_subset(tmp_path / "few.npy", uids[:9])
    stop_after_two(tmp_path / "pool", tmp_path / "out", subset)
    with pytest.raises(UsageError, match="unfinished reshard of another subset"):
        reshard(tmp_path / "pool", tmp_path / "out", few, shard_size=7)
    reshard(tmp_path / "pool", tmp_path / "out", few, shard_size=7, options=Options(overwrite=True))
    assert len(output_samples(tmp_path / "out")) == 9


def test_a_kill_while_the_work_folder_is_removed_or_made_leaves_the_output_usable(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    subset, few = write_subset(tmp_path / "s.npy", uids), write_subset(tmp_path / "few.npy", uids[:9])
    (tmp_path / "out" / ".reshard").mkdir(parents=True)  # made, nothing in it yet
    first = reshard(tmp_path / "pool", tmp_path / "out", subset)
    (tmp_path / "out" / ".reshard").mkdir()  # half removed
    assert reshard(tmp_path / "pool", tmp_path / "out", subset) == first
    with pytest.raises(UsageError, match="not empty"):
        reshard(tmp_path / "pool", tmp_path / "out", few)


def test_tars_that_no_reshard_wrote_are_left_alone(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    subset, few = write_subset(tmp_path / "s.npy", uids), write_subset(tmp_path / "few.npy", uids[:9])
    out = tmp_path / "out"
    stop_after_two(tmp_path / "pool", out, subset)
    own = {"mine.tar": b"precious", "00000123.tar": b"too", "mine_stats.json": b"{}"}
    for name, content in own.items():
        (out / name).write_bytes(content)
    for chosen, overwrite in ((subset, False), (few, True), (few, False)):
        reshard(tmp_path / "pool", out, chosen, shard_size=7, options=Options(overwrite=overwrite))
        assert {name: (out / name).read_bytes() for name in own} == own
    assert {path.name for path in out.glob("*.tar")} == {"00000000.tar", "00000001.tar", "mine.tar", "00000123.tar"}


@pytest.mark.parametrize("meta", ["{}", "[]", "{", '{"output_shard_count": 3, "args": "of the original"}'])
def test_a_folder_with_any_meta_json_is_not_ours_to_overwrite(tmp_path: Path, meta: str) -> None:
    subset = write_subset(tmp_path / "s.npy", write_pool(tmp_path / "pool", shards=1))
    other = tmp_path / "other"
    other.mkdir()
    (other / "meta.json").write_text(meta)
    (other / "00000000.tar").write_bytes(b"precious")
    before = tree(other)
    with pytest.raises(UsageError, match="not empty"):
        reshard(tmp_path / "pool", other, subset, options=Options(overwrite=True))
    assert tree(other) == before


def test_shards_of_an_earlier_state_of_the_pool_are_rewritten(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", uids)
    stop_after_two(tmp_path / "pool", tmp_path / "out", subset)
    for path in (tmp_path / "pool").glob("00000000*"):
        path.unlink()
    report = reshard(tmp_path / "pool", tmp_path / "out", subset, shard_size=7)
    assert (report.output_count, report.not_found) == (40, 20)
    assert [key for _, key, _ in output_samples(tmp_path / "out")] == [f"{uid}-0" for uid in uids[20:]]


def stop_after_two(pool: Path, out: Path, subset: Path) -> None:
    """Leave a run whose first two output shards are written."""

    def stop(progress: Progress) -> None:
        if progress.stage == "writing shards" and progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reshard(pool, out, subset, shard_size=7, progress=stop)
    assert len(list(out.glob("*.tar"))) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if mount is None or os.name != "posix" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_sentence_and_with_room_the_run_goes_on(
    tmp_path: Path, small_disk: Path, workers: int
) -> None:
    uids = write_pool(tmp_path / "pool", image_bytes=30_000)
    subset = write_subset(tmp_path / "s.npy", uids)
    out = small_disk / "out"
    with pytest.raises(StorageError, match=r"no space left on the device while writing .*\.tar\."):
        reshard(tmp_path / "pool", out, subset, workers=workers, shard_size=7)
    written = sorted(out.glob("*.tar"))
    assert 0 < len(written) < 9
    assert all(len(list(read_samples(path))) == 7 for path in written)  # nothing half-written under a final name
    assert not list(out.glob("*partial"))
    assert not list(out.glob(".*partial"))
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    seen: list[Progress] = []
    reshard(tmp_path / "pool", out, subset, workers=workers, shard_size=7, progress=seen.append)
    assert len(output_samples(out)) == len(uids)
    assert next(p.resumed for p in seen if p.stage == "writing shards") == len(written)


def test_a_file_size_limit_is_a_storage_error_too(tmp_path: Path) -> None:
    write_subset(tmp_path / "s.npy", write_pool(tmp_path / "pool", image_bytes=30_000))
    script = (
        "import sys; from pathlib import Path; from participant_kit.reshard import reshard; f = Path(sys.argv[1])\n"
        "from competition.errors import StorageError\n"
        "try:\n    reshard(f / 'pool', f / 'out', f / 's.npy')\n"
        "except StorageError as error:\n    sys.exit(f'{error.exit_code}: {error.message}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "4: The file would exceed the largest size allowed here while writing" in done.stderr
    assert not list((tmp_path / "out").glob("*.tar"))


def test_a_pool_that_changes_between_the_passes_is_damage_and_not_wrong_samples(tmp_path: Path) -> None:
    uids = write_pool(tmp_path / "pool")
    subset = write_subset(tmp_path / "s.npy", uids)

    def truncate(progress: Progress) -> None:
        if progress.stage == "writing shards" and progress.done == 0:
            path = tmp_path / "pool" / "00000002.tar"
            path.write_bytes(path.read_bytes()[:9000])

    with pytest.raises((DataFormatError, EngineError), match=r"00000002\.tar"):
        reshard(tmp_path / "pool", tmp_path / "out", subset, shard_size=20, progress=truncate)


def test_a_report_reads_back_from_its_json() -> None:
    report = ReshardReport(1, 1, 1, 1, 1, "", 0, [], 0, {}, [], [], "")
    assert ReshardReport(**report.as_json()) == report
