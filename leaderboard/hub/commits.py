"""Commits as immutable values: which file has which content, and how a list of operations changes that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict

from leaderboard.hub.errors import BadRequestError, EntryNotFoundError
from leaderboard.hub.objects import blob_oid, commit_oid, folders_of, lfs_pointer, tree_oids


class FileEntry(BaseModel):
    """One file of a commit; ``size`` is in bytes.

    ``oid`` is the git blob id of the content or, for an LFS file, of its pointer; ``sha256`` is set for LFS files only.
    """

    model_config = ConfigDict(frozen=True)

    oid: str
    size: int
    sha256: str | None = None

    @classmethod
    def regular(cls, content: bytes) -> Self:
        """The entry of a small file that is stored as it is."""
        return cls(oid=blob_oid(content), size=len(content))

    @classmethod
    def lfs(cls, sha256: str, size: int) -> Self:
        """The entry of a file that is stored as an LFS object."""
        return cls(oid=blob_oid(lfs_pointer(sha256, size)), size=size, sha256=sha256)

    @property
    def content_id(self) -> str:
        """The name of the stored bytes, and the file's ETag: it depends on the content alone, never on the path."""
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Message:
    """What a client says about its commit."""

    title: str
    description: str = ""

    def __str__(self) -> str:
        return f"{self.title}\n\n{self.description}".strip()


class Commit(BaseModel):
    """An immutable state of a repository, with its place in history.

    ``request`` is the sha256 of the request body that made it: a retried request is recognised by it.
    """

    model_config = ConfigDict(frozen=True)

    oid: str
    parent: str | None
    author: str
    date: datetime
    title: str
    description: str
    request: str
    files: dict[str, FileEntry]

    @classmethod
    def create(
        cls,
        files: Mapping[str, FileEntry],
        *,
        parent: str | None,
        author: str,
        date: datetime,
        message: Message,
        request: str = "",
    ) -> Self:
        """Make the commit and its id, which follows from everything else (as in git)."""
        tree = tree_oids({path: entry.oid for path, entry in files.items()})[""]
        oid = commit_oid(tree=tree, parent=parent, author=author, date=date, message=str(message))
        return cls(
            oid=oid,
            parent=parent,
            author=author,
            date=date,
            title=message.title,
            description=message.description,
            request=request,
            files=dict(sorted(files.items())),
        )


@dataclass(frozen=True)
class AddFile:
    """Create a file or replace its content."""

    path: str
    entry: FileEntry


@dataclass(frozen=True)
class DeleteFile:
    """Remove one file that exists."""

    path: str


@dataclass(frozen=True)
class DeleteFolder:
    """Remove every file below a folder that exists."""

    path: str


Operation = AddFile | DeleteFile | DeleteFolder


def apply(commit: Commit, operations: Iterable[Operation]) -> dict[str, FileEntry]:
    """The files after the operations, in order, on top of a commit.

    Raises EntryNotFoundError when something to delete is not there, and BadRequestError when a path would be a file and
    a folder at once.
    """
    files = dict(commit.files)
    for operation in operations:
        if isinstance(operation, AddFile):
            files[operation.path] = operation.entry
            continue
        below = operation.path.rstrip("/") + "/"
        doomed = [path for path in files if path.startswith(below)]
        if isinstance(operation, DeleteFile):
            doomed = [operation.path] if operation.path in files else []
        if not doomed:
            kind = "file" if isinstance(operation, DeleteFile) else "folder"
            # The client adds advice when it finds these words.
            message = f"A {kind} with this name doesn't exist: {operation.path}."
            raise EntryNotFoundError(message, commit=commit.oid)
        for path in doomed:
            del files[path]
    _check_no_file_is_a_folder(files)
    return files


def _check_no_file_is_a_folder(files: Mapping[str, FileEntry]) -> None:
    for path in files:
        for folder in folders_of(path):
            if folder in files:
                raise BadRequestError(
                    f"The commit would make {folder} both a file and a folder.",
                    hint=f"Delete the file {folder} in the same commit, or choose another path.",
                )
