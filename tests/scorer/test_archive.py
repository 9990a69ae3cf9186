"""The archive: whole files under their digest or nothing, from several scorers at once, and back again."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from competition.errors import ServiceUnavailableError, StaleAttemptError, StorageError, UsageError
from scorer.archive import Archive
from scorer.archiving import Patience
from scorer.mirror import Mirror
from tests.scorer.stores import archiving, bucket_archive, entry_of, folder_archive, mirrored, sha256

A, B = b"a" * 3_000_000, b"b" * 10


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "mirror")


@pytest.fixture
def other(tmp_path: Path) -> Mirror:
    """The mirror of another machine."""
    return Mirror(tmp_path / "other")


@pytest.fixture(params=["folder", "bucket"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    return folder_archive(tmp_path / "archive") if request.param == "folder" else bucket_archive()


def nothing_on_its_way(archive: Archive) -> bool:
    return not [left for left in archive.leftovers() if left.name.startswith("incoming/")]


def test_an_entry_travels_from_mirror_to_mirror_and_nothing_is_sent_twice(
    mirror: Mirror, other: Mirror, archive: Archive
) -> None:
    entry = mirrored(mirror, "sub-1", A, B)
    assert archiving(mirror, archive).deposit("sub-1", entry) == len(A) + len(B)
    second = mirrored(mirror, "sub-2", B, A, b"c")
    assert archiving(mirror, archive).deposit("sub-2", second) == 1, "only what the archive lacks is sent"
    assert {(blob.sha256, blob.size) for blob in archive.blobs()} == {
        (sha256(content), len(content)) for content in (A, B, b"c")
    }
    assert [name for name, _ in archive.entries()] == ["sub-1", "sub-2"]
    assert nothing_on_its_way(archive)
    assert not archiving(other, archive).restore("sub-1", second.source), "it is another folder of the repository"
    assert not archiving(other, archive).restore("sub-9", entry.source)
    assert archiving(other, archive).restore("sub-1", entry.source)
    assert other.recall("sub-1", entry.source) == entry.manifest
    assert other.verified(sha256(A)).read_bytes() == A
    assert other.path(sha256(A)).stat().st_mode & 0o222 == 0
    assert not list((other._root / "scratch").iterdir())


def test_what_is_damaged_on_either_side_does_not_spread_and_is_replaced(
    mirror: Mirror, other: Mirror, archive: Archive
) -> None:
    entry = mirrored(mirror, "sub-1", A)
    archiving(mirror, archive).deposit("sub-1", entry)
    with archive._system.open(archive._path(sha256(A)), "wb") as stream:
        stream.write(b"z" * len(A))
    assert not archiving(other, archive).restore("sub-1", entry.source)
    assert not other.holds(sha256(A), len(A))
    assert [left.name for left in archive.leftovers()] == [f"damaged/{sha256(A)}"]
    assert archiving(mirror, archive).deposit("sub-1", entry) == len(A)
    assert archiving(other, archive).restore("sub-1", entry.source)

    path = mirror.path(sha256(B))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * len(B))
    with pytest.raises(StorageError, match="is damaged"):
        archiving(mirror, archive).deposit("sub-2", entry_of("sub-2", B))
    path.unlink()
    path.symlink_to(other.path(sha256(A)))
    with pytest.raises(StorageError):
        archiving(mirror, archive).deposit("sub-2", entry_of("sub-2", B))
    assert not archive.holds(sha256(B), len(B))
    assert archive.entry("sub-2") is None, "an entry is noted when all of it is there"
    assert nothing_on_its_way(archive)


def test_scorers_that_put_the_same_at_once_do_not_harm_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    contents = [bytes([number]) * 200_000 for number in range(4)]
    entries = [mirrored(Mirror(tmp_path / f"mirror-{worker}"), "sub-1", *contents) for worker in range(4)]
    ready = threading.Barrier(4)

    def put(worker: int) -> None:
        own = archiving(Mirror(tmp_path / f"mirror-{worker}"), folder_archive(folder))
        for _ in range(5):
            ready.wait()
            own.deposit("sub-1", entries[worker])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(4)))
    archive = folder_archive(folder)
    assert [archive.digest(blob.sha256) for blob in archive.blobs()] == sorted(map(sha256, contents))
    assert archive.entry("sub-1") == entries[0]
    assert not list(archive.leftovers())


def test_a_blob_that_has_lain_for_long_is_young_again_when_a_new_entry_has_it(mirror: Mirror, tmp_path: Path) -> None:
    archive = folder_archive(tmp_path / "archive")
    archiving(mirror, archive).deposit("sub-1", mirrored(mirror, "sub-1", A))
    for store in (mirror, Mirror(tmp_path / "archive")):
        os.utime(store.path(sha256(A)), (0, 0))
    assert archiving(mirror, archive).deposit("sub-2", mirrored(mirror, "sub-2", A)) == len(A)
    os.utime(mirror.path(sha256(A)), (0, 0))
    assert mirror.keeps(sha256(A), len(A))
    for store in (mirror, archive):
        blob = store.look(sha256(A))
        assert blob is not None
        assert blob.modified is not None
        assert time.time() - blob.modified < 3600


class Broken(MemoryFileSystem):  # type: ignore[misc]
    """A store that fails as libraries do, each with errors of its own, at the named calls."""

    protocol = "broken"
    fails: tuple[str, ...] = ()

    def _maybe(self, name: str) -> None:
        if name in self.fails:
            message = "s3://secret-bucket: AccessDenied for AKIA-KEY"
            raise LookupError(message)

    def info(self, path: str, **options: Any) -> Any:
        self._maybe("info")
        return super().info(path, **options)

    def mv(self, *paths: str, **options: Any) -> None:
        self._maybe("mv")
        super().mv(*paths, **options)

    def cat_file(self, path: str, *bounds: Any, **options: Any) -> Any:
        self._maybe("cat_file")
        return super().cat_file(path, *bounds, **options)


@pytest.mark.parametrize("call", ["info", "mv", "cat_file"])
def test_an_archive_that_fails_is_our_fault_in_one_sentence_that_gives_nothing_away(
    mirror: Mirror, call: str, tmp_path: Path
) -> None:
    system = Broken(skip_instance_cache=True)
    archive = Archive(system, f"/{tmp_path.name}")
    entry = mirrored(mirror, "sub-1", B)
    if call == "cat_file":
        archiving(mirror, archive).deposit("sub-1", entry)
    system.fails = (call,)
    own = archiving(mirror, archive)
    work = partial(own.restore, "sub-1", entry.source) if call == "cat_file" else partial(own.deposit, "sub-1", entry)
    with pytest.raises(ServiceUnavailableError, match=r"^The archive of mirrored entries failed while ") as caught:
        work()
    assert "secret-bucket" not in str(caught.value)
    assert "AKIA" not in str(caught.value)
    system.fails = ()
    assert nothing_on_its_way(archive)


def test_a_job_that_is_over_and_an_archive_that_hangs_are_not_waited_for(mirror: Mirror, archive: Archive) -> None:
    entry = mirrored(mirror, "sub-1", B)
    hang = threading.Event()

    def stuck(*_arguments: object) -> bool:
        return hang.wait(30)

    archive.put = stuck  # type: ignore[method-assign]
    with pytest.raises(ServiceUnavailableError, match="moved nothing for"):
        archiving(mirror, archive, Patience(lambda: None, 0.2, 0)).deposit("sub-1", entry)

    def lost() -> None:
        message = "The lease has ended."
        raise StaleAttemptError(message)

    with pytest.raises(StaleAttemptError):
        archiving(mirror, archive, Patience(lost, 60, 0)).deposit("sub-1", entry)
    hang.set()


def test_a_mirror_without_room_takes_nothing_from_the_archive(mirror: Mirror, other: Mirror, archive: Archive) -> None:
    entry = mirrored(mirror, "sub-1", A)
    archiving(mirror, archive).deposit("sub-1", entry)
    with pytest.raises(StorageError, match="bytes are free where the mirror lies"):
        archiving(other, archive, Patience(lambda: None, 60, 2**62)).restore("sub-1", entry.source)
    assert not list(other.blobs())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/mnt/archive", "no URL"),
        ("memory://archive", "no URL of a store that scorers can share"),
        ("s4://bucket", "s4:// is not known"),
        ("oci://bucket", "needs a package that is not installed"),
    ],
)
def test_a_url_that_can_be_no_archive_is_refused_at_once(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Archive.open(url)
