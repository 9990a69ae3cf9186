"""The store under concurrency, retries and crashes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from leaderboard.hub.commits import AddFile, FileEntry, Message
from leaderboard.hub.errors import DiskFullError, RepositoryNotFoundError, StaleParentError, TooLargeError
from leaderboard.hub.files import Spool, write_whole
from leaderboard.hub.names import RepoId, RepoKind
from leaderboard.hub.repositories import Repositories, Repository

REPO = RepoId(RepoKind.MODELS, "alice", "entry")
COMMITS = 15

# What one server process does; it prints the parent of every commit that landed, and "stale" for every refusal.
WRITER = f"""
import sys
from pathlib import Path
from leaderboard.hub.commits import AddFile, FileEntry, Message
from leaderboard.hub.errors import StaleParentError
from leaderboard.hub.names import RepoId, RepoKind
from leaderboard.hub.repositories import Repositories

root, who, parent = sys.argv[1:]
repository = Repositories(Path(root)).open(RepoId(RepoKind.MODELS, "alice", "entry"))
sys.stdin.readline()
for number in range(1 if parent else {COMMITS}):
    operations = [AddFile(f"{{who}}/{{number}}", FileEntry.regular(who.encode()))]
    try:
        print(repository.append(operations, author="alice", message=Message(who), parent=parent or None).parent)
    except StaleParentError:
        print("stale")
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repositories(tmp_path).create(REPO, author="alice")


def add(repository: Repository, path: str, content: bytes = b"x", **options: str) -> str:
    return repository.append(
        [AddFile(path, FileEntry.regular(content))], author="alice", message=Message("add"), **options
    ).oid


def race(root: Path, parent: str) -> list[str]:
    """Let two processes write at the same time and return the lines that they printed."""
    command = [sys.executable, "-c", WRITER, str(root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, who, parent], **pipes) for who in ("first", "second")]
    with ThreadPoolExecutor() as pool:
        outputs = list(pool.map(lambda writer: writer.communicate("go\n", timeout=60)[0], writers))
    assert [writer.returncode for writer in writers] == [0, 0]
    return "".join(outputs).split()


def test_two_processes_without_a_parent_land_one_after_the_other(repository, tmp_path):
    parents = race(tmp_path, parent="")
    assert len(set(parents)) == len(parents) == 2 * COMMITS, "no commit was built on a parent that another one used"
    history = list(repository.history(repository.head))
    assert [commit.parent for commit in history[:-1]] == [commit.oid for commit in history[1:]]
    assert len(history) == 2 * COMMITS + 1
    assert len(repository.head.files) == 2 * COMMITS, "no file was lost"


def test_two_processes_with_the_same_parent_land_once(repository, tmp_path):
    head = repository.head.oid
    assert sorted(race(tmp_path, parent=head), key=len) == ["stale", head]
    assert len(list(repository.history(repository.head))) == 2


def test_a_repeated_request_returns_the_commit_that_it_made(repository):
    old = repository.head.oid
    first = add(repository, "a", parent=old, request="r1")
    assert add(repository, "a", parent=old, request="r1") == first
    assert add(repository, "a", request="r2") == first, "nothing changes, so there is nothing to commit"
    add(repository, "b")
    with pytest.raises(StaleParentError):
        add(repository, "a", parent=old, request="r1")


def test_a_repository_that_vanishes_is_not_found_by_those_who_hold_it(repository, tmp_path):
    Repositories(tmp_path).delete(REPO)
    for call in (lambda: repository.head, lambda: repository.record, lambda: add(repository, "a")):
        with pytest.raises(RepositoryNotFoundError):
            call()
    with pytest.raises(RepositoryNotFoundError):
        Repositories(tmp_path).delete(REPO)


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    with Spool(tmp_path, limit=10, what="it") as spool:
        spool.write(b"half")
        with pytest.raises(TooLargeError):
            spool.write(b"and too much")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_in_one_sentence(tmp_path, monkeypatch):
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskFullError, match="disk is full"):
        write_whole(tmp_path / "target", b"bytes", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_old_leftovers_are_swept(tmp_path, repository):
    scratch = tmp_path / "scratch"
    (scratch / "old.parts").mkdir()
    (scratch / "old.parts/1").write_bytes(b"x")
    for name in ("old.part", "new.part"):
        (scratch / name).write_bytes(b"x")
    for name in ("old.parts", "old.part"):
        os.utime(scratch / name, (0, 0))
    Repositories(tmp_path).sweep()
    assert [path.name for path in scratch.iterdir()] == ["new.part"]
    assert add(repository, "a") == repository.head.oid
