"""Ids and names: those of git, and none that leads out of a repository."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.errors import DataCupError
from leaderboard.hub.commits import AddFile, Commit, DeleteFile, DeleteFolder, FileEntry, Message, apply
from leaderboard.hub.errors import BadRequestError, RepositoryNotFoundError
from leaderboard.hub.names import RepoId, check_path, is_name
from leaderboard.hub.objects import blob_oid, commit_oid, lfs_pointer, tree_oids

FILES = {"a.txt": b"hello\n", "sub/b.txt": b"hello\n", "sub.d/c": b"x", "sub-e": b"y"}
NOW = datetime.fromtimestamp(1_700_000_000, UTC)


def test_ids_are_those_that_git_prints():
    oids = {path: blob_oid(content) for path, content in FILES.items()}
    assert oids["sub-e"] == "e25f1814e51579d5f55c0f1fe0135ddb28a47f4a"
    trees = tree_oids(oids)
    assert trees == {
        "": "57d3f93800325762c1a012c667e077d56622c9ff",
        "sub": "dd5a3627ad3d4a1eaa9b180972bab37891a5e101",
        "sub.d": "eb419bb6d84a1cb33305c7398c075ebc821e7c41",
    }
    commit = commit_oid(tree=trees[""], parent=None, author="alice", date=NOW, message="Why\n\nBecause.")
    assert commit == "7e41d0e9565391682704d1674b12efa4e1ddd568"
    assert tree_oids({}) == {"": "4b825dc642cb6eb9a060e54bf8d69288fbee4904"}
    assert blob_oid(lfs_pointer("0" * 64, 12)) == "76edda3f26133b422da4bb4aa9601907a3dae302"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/..",
        ".",
        "a//b",
        "a/",
        "a\\b",
        "a\0b",
        "a\nb",
        "x" * 1025,
        "/".join("x" * 33),
        "\ud800",
        ".git/x",
        "a/.GIT/x",
    ],
)
def test_a_path_that_could_lead_elsewhere_is_refused(path):
    with pytest.raises(BadRequestError):
        check_path(path)


@given(st.text(max_size=40))
def test_an_accepted_path_stays_inside_and_is_what_it_seems(path):
    try:
        accepted = check_path(path)
    except DataCupError:
        return
    parts = PurePosixPath("/repo", accepted).parts
    assert "/".join(parts[2:]) == path
    assert ".." not in parts


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a..b", "a--b", "-a", "a.", "a/b", "a b", "ä", "a\n", "x" * 97, "a.git"]
)
def test_a_name_that_the_hub_would_refuse_is_no_repository(name):
    assert not is_name(name)
    with pytest.raises(RepositoryNotFoundError):
        RepoId.parse("models", "alice", name)
    with pytest.raises(RepositoryNotFoundError):
        RepoId.parse("models", name, "entry")


def some_commit(**files: bytes) -> Commit:
    entries = {path.replace("__", "/"): FileEntry.regular(content) for path, content in files.items()}
    return Commit.create(entries, parent=None, author="alice", date=NOW, message=Message("t"))


def test_operations_apply_in_order():
    entry = FileEntry.regular(b"new")
    commit = some_commit(a=b"1", d__x=b"2", d__y=b"3", dd=b"4")
    assert set(apply(commit, [DeleteFolder("d"), AddFile("d", entry), DeleteFile("a")])) == {"d", "dd"}
    assert apply(commit, [AddFile("a", entry)])["a"] == entry


@pytest.mark.parametrize(
    "operations",
    [
        [DeleteFile("d")],
        [DeleteFolder("a")],
        [DeleteFile("absent")],
        [AddFile("a/b", FileEntry.regular(b""))],
        [AddFile("d", FileEntry.regular(b""))],
    ],
)
def test_impossible_operations_are_refused(operations):
    with pytest.raises(DataCupError):
        apply(some_commit(a=b"1", d__x=b"2"), operations)


def test_a_commit_id_follows_from_content_author_time_message_and_parent():
    same = {"parent": None, "author": "alice", "date": NOW, "message": Message("t")}
    files = {"a": FileEntry.regular(b"1")}
    first = Commit.create(files, **same)
    assert Commit.create(files, **same) == first
    other = {"parent": first.oid, "author": "bob", "date": datetime(2030, 1, 1, tzinfo=UTC), "message": Message("u")}
    changed = [Commit.create(files, **(same | {key: value})).oid for key, value in other.items()]
    changed.append(Commit.create({"a": FileEntry.regular(b"2")}, **same).oid)
    assert len({first.oid, *changed}) == 6
    assert Commit.model_validate_json(first.model_dump_json()) == first
