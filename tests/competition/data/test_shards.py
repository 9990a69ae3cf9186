"""Tar shards: others read what we write, we read what others write, and damage is never taken for the end."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.data import tar
from competition.data.shards import Sample, expected_samples, list_shards, read_samples, write_shard
from competition.data.tar import open_tar, scan_members
from competition.errors import DataFormatError, StorageError

KEYS = st.from_regex(r"[0-9a-z_-]{1,40}", fullmatch=True)
EXTENSIONS = st.from_regex(r"[a-z0-9]{1,5}(\.[a-z]{1,4})?", fullmatch=True)
SAMPLES = st.lists(
    st.builds(Sample, KEYS, st.dictionaries(EXTENSIONS, st.binary(max_size=1200), min_size=1, max_size=4)),
    unique_by=lambda sample: sample.key,
    max_size=6,
)


def as_pairs(samples: list[Sample]) -> list[tuple[str, list[tuple[str, bytes]]]]:
    return [(sample.key, list(sample.members.items())) for sample in samples]


@given(SAMPLES)
def test_what_we_write_we_and_tarfile_read(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> None:
    folder = tmp_path_factory.mktemp("shards")
    count, size = write_shard(folder, 3, samples)
    path = folder / "00000003.tar"
    assert (count, size) == (len(samples), path.stat().st_size)
    assert size % 10240 == 0
    assert as_pairs(list(read_samples(path))) == as_pairs(samples)
    with tarfile.open(path) as archive:
        theirs = [(info.name, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]
    assert theirs == [(f"{s.key}.{ext}", data) for s in samples for ext, data in s.members.items()]


@given(
    st.lists(st.tuples(st.text("ab/é. ", min_size=1, max_size=160), st.binary(max_size=700)), max_size=5),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.floats(0, 2e9),
)
def test_what_tarfile_writes_we_read(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]], kind: int, mtime: float
) -> None:
    path = tmp_path_factory.mktemp("tars") / "x.tar"
    files = [(name.strip("/. ").replace("..", "x") + "z", data) for name, data in files]
    expected = []
    with tarfile.open(path, "w", format=kind) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime  # a float time makes a pax header, as webdataset's writer does
            try:
                archive.addfile(info, io.BytesIO(data))
            except ValueError:  # ustar cannot hold every long name
                continue
            expected.append((name, data))
    with open_tar(path) as buffer:
        found = [(m.name, buffer[m.offset : m.offset + m.size]) for m in scan_members(buffer, path)]
        spans = [(m.start, m.end) for m in scan_members(buffer, path)]
        for start, end in spans:  # any member can be read again from its own range alone
            assert len(list(scan_members(buffer, path, start, end))) == 1
    assert found == expected


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_long_name_of_a_folder_is_not_given_to_the_file_after_it(tmp_path: Path, kind: int) -> None:
    folder = "/".join(["d" * 90] * 2)
    with tarfile.open(tmp_path / "0.tar", "w", format=kind) as archive:
        info = tarfile.TarInfo(folder)
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
        info = tarfile.TarInfo("k.txt")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    assert list(read_samples(tmp_path / "0.tar")) == [Sample("k", {"txt": b"x"})]


def test_writing_is_deterministic(tmp_path: Path) -> None:
    samples = [Sample("a", {"jpg": b"1", "json": b"{}"})]
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name, 0, samples, {"count": 2})
    assert (tmp_path / "x/00000000.tar").read_bytes() == (tmp_path / "y/00000000.tar").read_bytes()
    assert json.loads((tmp_path / "x/00000000_stats.json").read_text()) == {"successes": 1, "count": 2}


def test_grouping_follows_webdataset(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with path.open("wb") as stream:
        writer = tar.TarWriter(stream)
        for name in ("a.JPG", "README", "a.seg.png", ".hidden", "b.jpg", "b.jpg", "d.e/c.txt"):
            writer.add(name, name.encode())
        writer.finish()
    assert [(s.key, list(s.members)) for s in read_samples(path)] == [
        ("a", ["jpg", "seg.png"]),
        ("b", ["jpg"]),
        ("b", ["jpg"]),
        ("d.e/c", ["txt"]),
    ]
    assert [list(s.members) for s in read_samples(path, {"png", "txt"})][-1] == ["txt"]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    write_shard(tmp_path, 0, [Sample(f"{i:04d}", {"jpg": bytes([i]) * 700, "json": b"{}"}) for i in range(20)])
    return tmp_path / "00000000.tar"


@pytest.mark.parametrize("size", [0, 100, 512, 700, 512 + 1024, 512 * 5, 20 * 2560 - 1, 20 * 2560])
def test_truncation_anywhere_is_reported_with_the_byte(shard: Path, size: int) -> None:
    shard.write_bytes(shard.read_bytes()[:size])
    with pytest.raises(DataFormatError, match=r"00000000\.tar is damaged at byte \d+"):
        list(read_samples(shard))


@given(position=st.integers(0, 20 * 2560 - 1))
def test_a_hole_of_zeros_never_loses_samples_silently(tmp_path_factory: pytest.TempPathFactory, position: int) -> None:
    folder = tmp_path_factory.mktemp("hole")
    write_shard(folder, 0, [Sample(f"{i:04d}", {"jpg": bytes([i + 1]) * 700, "json": b"{}"}) for i in range(20)])
    path = folder / "00000000.tar"
    content = bytearray(path.read_bytes())
    content[position : position + 512] = bytes(512)
    path.write_bytes(content)
    try:
        found = len(list(read_samples(path)))
    except DataFormatError:
        return
    assert found == 20


def test_garbage_and_foreign_files_are_refused(shard: Path) -> None:
    shard.write_bytes(b"\xff\xd8\xff" * 1000)
    with pytest.raises(DataFormatError, match="damaged at byte 0"):
        list(read_samples(shard))


@pytest.mark.parametrize(
    ("kind", "word"), [(tarfile.SYMTYPE, "symbolic"), (tarfile.LNKTYPE, "hard"), (tarfile.FIFOTYPE, "pipe")]
)
def test_links_and_special_files_are_refused(tmp_path: Path, kind: bytes, word: str) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataFormatError, match=word):
        list(read_samples(path))


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg"])
def test_names_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(DataFormatError, match="leaves the archive"):
        list(read_samples(path))
    with pytest.raises(DataFormatError, match="cannot be the name"):
        tar.TarWriter(io.BytesIO()).add(name, b"")


def test_members_above_the_cap_are_refused(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "MAX_MEMBER_BYTES", 600)
    with pytest.raises(DataFormatError, match="at most 600"):
        list(read_samples(shard))


def test_listing_reports_gaps_and_keeps_what_follows_them(tmp_path: Path) -> None:
    for number in (0, 1, 4, 7):
        write_shard(tmp_path, number, [])
    (tmp_path / "extra.tar").write_bytes(b"")
    (tmp_path / ".00000009.tar.partial").write_bytes(b"")
    listing = list_shards(tmp_path)
    assert [shard.name for shard in listing.shards] == [f"{n:08d}.tar" for n in (0, 1, 4, 7)] + ["extra.tar"]
    assert listing.gaps == ((2, 3), (5, 6))


def test_expected_samples_come_from_the_stats(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, [Sample("a", {"jpg": b""})])
    shard = list_shards(tmp_path).shards[0]
    assert expected_samples(shard) == 1
    shard.stats_path.write_text("{")
    with pytest.raises(DataFormatError, match="00000000_stats"):
        expected_samples(shard)
    shard.stats_path.unlink()
    assert expected_samples(shard) is None


def test_an_empty_or_absent_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match="no shard"):
        list_shards(tmp_path)
    with pytest.raises(StorageError, match="No such file"):
        list_shards(tmp_path / "absent")
