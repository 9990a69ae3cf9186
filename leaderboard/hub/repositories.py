"""Repositories on disk.

Below ``root``::

    repositories/<kind>/<namespace>/<name>/
        repository.json     what is not versioned: visibility, creation; the repository exists while this file does
        head                the sha of the branch `main`
        commits/<sha>.json  immutable manifests
        blobs/<aa>/<id>     content by sha256 (LFS) or git sha1, never changed
    locks/                  one file a repository, outside of it, so that a lock outlives a deletion
    scratch/                files being written, on the same file system

Blobs belong to one repository: knowing the hash of a private file gives nobody its content, and deleting a repository
frees its space.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from pydantic import BaseModel, ConfigDict

from leaderboard.hub.commits import Commit, Message, Operation, apply
from leaderboard.hub.errors import (
    BadRequestError,
    RepositoryExistsError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    StaleParentError,
)
from leaderboard.hub.files import locked, sync_folder, write_whole
from leaderboard.hub.names import BRANCH, RepoId, RepoKind, is_commit_id

_STALE_SCRATCH_S = 7 * 24 * 3600.0


class RepositoryRecord(BaseModel):
    """What is not versioned about a repository."""

    model_config = ConfigDict(frozen=True)

    private: bool
    created_at: datetime


class Repository:
    """One repository that existed when it was opened; methods raise RepositoryNotFoundError if it has gone since."""

    def __init__(self, root: Path, repo_id: RepoId) -> None:
        self.id = repo_id
        self.scratch = root / "scratch"
        self.folder = root / "repositories" / repo_id.kind / repo_id.namespace / repo_id.name
        self.lock = root / "locks" / repo_id.kind / repo_id.namespace / f"{repo_id.name}.lock"

    @property
    def record(self) -> RepositoryRecord:
        return RepositoryRecord.model_validate_json(self._read("repository.json"))

    @property
    def head(self) -> Commit:
        """The newest commit of the branch ``main``."""
        return self.commit(self._read("head").decode())

    def commit(self, revision: str) -> Commit:
        """The commit that a full sha or ``main`` names; raises RevisionNotFoundError."""
        if revision in {BRANCH, f"refs/heads/{BRANCH}", "HEAD"}:
            return self.head
        missing = RevisionNotFoundError(
            f"{self.id} has no revision {revision[:80]}.",
            hint="A revision is `main` or the 40 hexadecimal digits of a commit.",
        )
        if not is_commit_id(revision):
            raise missing
        try:
            return Commit.model_validate_json((self.folder / "commits" / f"{revision}.json").read_bytes())
        except FileNotFoundError:
            raise missing from None

    def history(self, commit: Commit) -> Iterator[Commit]:
        """The commit and its ancestors, newest first."""
        yield commit
        while commit.parent is not None:
            commit = self.commit(commit.parent)
            yield commit

    def append(
        self,
        operations: Sequence[Operation],
        *,
        author: str,
        message: Message,
        parent: str | None = None,
        request: str = "",
        max_files: int = 20_000,
    ) -> Commit:
        """Put a commit on top of ``main`` and return it; the lock makes this serial among threads and processes.

        ``parent`` is a full sha or its first digits, as clients allow. A repeated request, and one that changes no
        file, return the head without a new commit. Raises StaleParentError when ``parent`` is given and is not the
        head, and what ``apply`` raises.
        """
        with locked(self.lock):
            head = self.head
            repeated = bool(request) and head.request == request and head.author == author
            if repeated and (parent is None or (head.parent or "").startswith(parent)):
                return head
            if parent is not None and not head.oid.startswith(parent):
                raise StaleParentError(
                    f"{self.id} has moved on: its head is {head.oid}, not {parent}.",
                    hint="Look at the newest revision, then commit on top of it.",
                )
            files = apply(head, operations)
            if files == head.files:
                return head
            if len(files) > max_files:
                raise BadRequestError(f"{self.id} would have {len(files)} files; {max_files} are allowed.")
            commit = Commit.create(
                files, parent=head.oid, author=author, date=datetime.now(UTC), message=message, request=request
            )
            self._advance(commit)
            return commit

    def squash(self, *, author: str, message: Message) -> Commit:
        """Replace the whole history by one commit of the same files.

        The old shas stop being found; content that only they used stays on disk until the repository is deleted.
        """
        with locked(self.lock):
            commit = Commit.create(self.head.files, parent=None, author=author, date=datetime.now(UTC), message=message)
            self._advance(commit)
            for path in (self.folder / "commits").glob("*.json"):
                if path.stem != commit.oid:
                    path.unlink()
            return commit

    def set_private(self, private: bool) -> None:
        """Hide the repository from everybody but its owner, or show it again."""
        with locked(self.lock):
            record = self.record.model_copy(update={"private": private})
            write_whole(self.folder / "repository.json", record.model_dump_json().encode(), self.scratch)

    def blob_path(self, content_id: str) -> Path:
        """Where the bytes with this validated sha256 or git sha1 are, or will be."""
        return self.folder / "blobs" / content_id[:2] / content_id

    def blob_size(self, content_id: str) -> int | None:
        """The size in bytes of stored content, or None when it is not stored here."""
        try:
            return self.blob_path(content_id).stat().st_size
        except FileNotFoundError:
            return None

    def _initialise(self, record: RepositoryRecord, author: str) -> None:
        initial = Commit.create(
            {}, parent=None, author=author, date=record.created_at, message=Message("initial commit")
        )
        self._advance(initial)
        # Last, because a repository exists from the moment that its record does.
        write_whole(self.folder / "repository.json", record.model_dump_json().encode(), self.scratch)

    def _advance(self, commit: Commit) -> None:
        write_whole(self.folder / "commits" / f"{commit.oid}.json", commit.model_dump_json().encode(), self.scratch)
        write_whole(self.folder / "head", commit.oid.encode(), self.scratch)

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise not_found(self.id) from None


class Repositories:
    """All repositories below one folder, which several server processes may share."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scratch = root / "scratch"

    def open(self, repo_id: RepoId) -> Repository:
        """Raises RepositoryNotFoundError."""
        repository = Repository(self.root, repo_id)
        if not (repository.folder / "repository.json").is_file():
            raise not_found(repo_id)
        return repository

    def create(self, repo_id: RepoId, *, author: str, private: bool = False) -> Repository:
        """Make a repository with one empty commit; raises RepositoryExistsError."""
        repository = Repository(self.root, repo_id)
        with locked(repository.lock):
            if (repository.folder / "repository.json").is_file():
                raise RepositoryExistsError(f"The repository {repo_id} exists already.")
            record = RepositoryRecord(private=private, created_at=datetime.now(UTC))
            repository._initialise(record, author)  # noqa: SLF001 - the two classes are one store
        return repository

    def delete(self, repo_id: RepoId) -> None:
        """Remove a repository with everything in it; downloads that have begun still finish."""
        repository = self.open(repo_id)
        trash = self.scratch / f"{token_hex(16)}.deleted"
        self.scratch.mkdir(parents=True, exist_ok=True)
        with locked(repository.lock):
            try:
                repository.folder.rename(trash)
            except FileNotFoundError:
                raise not_found(repo_id) from None
            sync_folder(repository.folder.parent)
        shutil.rmtree(trash)

    def of_kind(self, kind: RepoKind, namespace: str = "*") -> list[Repository]:
        """Every repository of a kind, by name; ``namespace`` is a validated user name or ``*``."""
        found = sorted((self.root / "repositories" / kind).glob(f"{namespace}/*/repository.json"))
        return [Repository(self.root, RepoId(kind, path.parts[-3], path.parts[-2])) for path in found]

    def sweep(self) -> None:
        """Remove what crashed uploads and deletions left in the scratch folder a week ago or earlier."""
        oldest = time.time() - _STALE_SCRATCH_S
        for path in self.scratch.glob("*"):
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def not_found(repo_id: RepoId) -> RepositoryNotFoundError:
    """The one answer for a repository that is absent and for one that the caller may not see."""
    return RepositoryNotFoundError(
        f"There is no repository {repo_id} here, or your token does not allow you to see it.",
        hint="Check the name and the kind of the repository, and your token.",
    )
