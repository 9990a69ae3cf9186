"""The JSON that the client expects for repositories, files and commits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from leaderboard.hub.commits import Commit, FileEntry
from leaderboard.hub.objects import lfs_pointer, tree_oids
from leaderboard.hub.repositories import Repository

Json = dict[str, Any]


def timestamp(moment: datetime) -> str:
    """The one format that clients parse: UTC, milliseconds, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def repository_info(repository: Repository, commit: Commit, *, blobs: bool = False) -> Json:
    """What ``repo_info`` shows of a repository at a commit; ``blobs`` adds sizes and ids of the files."""
    record = repository.record
    return {
        "id": str(repository.id),
        "author": repository.id.namespace,
        "sha": commit.oid,
        "private": record.private,
        "gated": False,
        "disabled": False,
        "createdAt": timestamp(record.created_at),
        "lastModified": timestamp(commit.date),
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": [_sibling(path, entry, blobs=blobs) for path, entry in commit.files.items()],
    }


def _sibling(path: str, entry: FileEntry, *, blobs: bool) -> Json:
    if not blobs:
        return {"rfilename": path}
    sibling: Json = {"rfilename": path, "size": entry.size, "blobId": entry.oid}
    if entry.sha256 is not None:
        sibling["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": _pointer_size(entry)}
    return sibling


def _pointer_size(entry: FileEntry) -> int:
    return len(lfs_pointer(entry.sha256 or "", entry.size))


def file_entry(path: str, entry: FileEntry) -> Json:
    """One file of a tree listing. Never a ``xetHash``: the client would then try another protocol."""
    answer: Json = {"type": "file", "path": path, "size": entry.size, "oid": entry.oid}
    if entry.sha256 is not None:
        answer["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": _pointer_size(entry)}
    return answer


def folder_entries(files: Mapping[str, FileEntry]) -> dict[str, Json]:
    """The entries of all folders by path, without the root."""
    oids = tree_oids({path: entry.oid for path, entry in files.items()})
    return {path: {"type": "directory", "path": path, "size": 0, "oid": oid} for path, oid in oids.items() if path}


def tree(commit: Commit, folder: str, *, recursive: bool) -> list[Json] | None:
    """The entries below a folder ("" is the root), by path; None when the commit has no such folder."""
    below = f"{folder}/" if folder else ""
    folders = folder_entries(commit.files)
    if folder and folder not in folders:
        return None
    entries = folders | {path: file_entry(path, entry) for path, entry in commit.files.items()}
    return [
        entry
        for path, entry in sorted(entries.items())
        if path.startswith(below) and (recursive or "/" not in path[len(below) :])
    ]


def paths_info(commit: Commit, paths: list[str]) -> list[Json]:
    """The entries of those paths that exist, files or folders."""
    wanted = [path.strip("/") for path in paths]
    folders = folder_entries(commit.files) if any(path not in commit.files for path in wanted) else {}
    files = {path: file_entry(path, commit.files[path]) for path in wanted if path in commit.files}
    entries = folders | files
    return [entries[path] for path in dict.fromkeys(wanted) if path in entries]


def history_entry(commit: Commit) -> Json:
    """One line of ``list_repo_commits``."""
    return {
        "id": commit.oid,
        "title": commit.title,
        "message": commit.description,
        "authors": [{"user": commit.author}],
        "date": timestamp(commit.date),
    }
