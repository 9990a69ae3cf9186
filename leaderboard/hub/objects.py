"""Object ids as git computes them, so that a repository copied to a real git server keeps its ids.

Formats: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects and the Git LFS pointer specification, version 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime


def _oid(kind: str, content: bytes) -> str:
    # sha1 is git's choice of name; nothing here relies on it for security.
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def blob_oid(content: bytes) -> str:
    """The git id (sha1, 40 hex digits) of a file's content."""
    return _oid("blob", content)


def lfs_pointer(sha256: str, size: int) -> bytes:
    """The small text that git stores in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def folders_of(path: str) -> list[str]:
    """Every folder above a path, from its parent up to but without the root: ``a/b/c`` gives ``a/b``, ``a``."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(len(parts), 0, -1)]


def tree_oids(files: Mapping[str, str]) -> dict[str, str]:
    """The git tree id of every folder, the root being ``""``, given the blob id of every file by path."""
    folders = {folder for path in files for folder in folders_of(path)} | {""}
    children: dict[str, list[tuple[str, str, str]]] = {folder: [] for folder in folders}
    for path, oid in files.items():
        parent, _, name = path.rpartition("/")
        children[parent].append((name, "100644", oid))
    oids: dict[str, str] = {}
    for folder in sorted(folders, key=lambda path: (path != "", path.count("/")), reverse=True):
        oids[folder] = _tree_oid(children[folder])
        if folder:
            parent, _, name = folder.rpartition("/")
            children[parent].append((name, "40000", oids[folder]))
    return oids


def _tree_oid(children: list[tuple[str, str, str]]) -> str:
    def git_order(child: tuple[str, str, str]) -> bytes:
        name, mode, _ = child
        return (name + "/" if mode == "40000" else name).encode()

    ordered = sorted(children, key=git_order)
    return _oid("tree", b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(oid) for name, mode, oid in ordered))


def commit_oid(*, tree: str, parent: str | None, author: str, date: datetime, message: str) -> str:
    """The git id of a commit by ``author`` (a user name of this Hub) at an aware ``date``."""
    person = f"{author} <{author}@localhost> {int(date.timestamp())} +0000"
    lines = [f"tree {tree}", *([f"parent {parent}"] if parent else []), f"author {person}", f"committer {person}"]
    return _oid("commit", ("\n".join(lines) + f"\n\n{message}\n").encode())
