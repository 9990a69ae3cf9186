"""The mirror: every file of every entry by its digest, because repositories get deleted, squashed or made private.

``objects/ab/cd/<sha256>`` holds the files, ``entries/<submission id>.json`` says which files an entry consists of, and
``scratch/`` what is on its way. Everything is written aside, synced, and renamed into place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.errors import StorageError
from competition.records.base import CommitSha, HttpUrl, Record, RelativePath, RepoId
from competition.records.manifest import SubmissionManifest

_ABANDONED_S = 24 * 3600.0


class DamagedFileError(StorageError):
    """A file of the mirror is not what its name says."""

    def __init__(self, path: Path, sha256: str, found: str) -> None:
        super().__init__(
            f"The mirrored file {path} was damaged (its sha256 is {found}) and has been set aside.",
            hint="It is fetched again at the next attempt; check the disk.",
        )
        self.sha256 = sha256


class Source(Record):
    """Where an entry lies on the Hub: one folder of one repository at one commit."""

    endpoint: HttpUrl
    repo: RepoId
    revision: CommitSha
    path: RelativePath


class MirroredEntry(Record):
    """What the mirror remembers about an entry, so that it can be scored again when its repository is gone."""

    schema_version: Literal[1] = 1
    source: Source
    manifest: SubmissionManifest


class Mirror:
    """A content-addressed store in a folder, shared by any number of processes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, sha256: str) -> Path:
        """Where the file of that digest lies, or would lie."""
        return self._root / "objects" / sha256[:2] / sha256[2:4] / sha256

    def holds(self, sha256: str, size: int) -> bool:
        """Whether the file is there with that size. Its content is checked when it is used (``verified``)."""
        try:
            return self.path(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def verified(self, sha256: str) -> Path:
        """The file of that digest, read once to be sure of it.

        Raises:
            DamagedFileError: it is another one. It is set aside, unless the mirror is read-only here: then somebody who
                may write must look too.
            StorageError: it is absent.
        """
        path = self.path(sha256)
        with storage_errors("reading the mirrored file", path):
            found = file_sha256(path)
        if found != sha256:
            if os.access(path.parent, os.W_OK):
                self._set_aside(path)
            raise DamagedFileError(path, sha256, found)
        return path

    def adopt(self, file: Path, sha256: str) -> None:
        """Move a scratch file, whose digest is known, into the store: on disk before it can be seen."""
        target = self.path(sha256)
        make_folder(target.parent)
        with storage_errors("mirroring", target):
            with file.open("rb") as stream:
                os.fchmod(stream.fileno(), 0o444)
                os.fsync(stream.fileno())
            file.replace(target)
            _sync(target.parent)

    def remember(self, submission_id: str, entry: MirroredEntry) -> None:
        """Note that all files of an entry are in the store."""
        path = self._entry_path(submission_id)
        make_folder(path.parent)
        write_bytes(path, entry.model_dump_json(indent=1).encode())

    def recall(self, submission_id: str, source: Source) -> SubmissionManifest | None:
        """The manifest of an entry that was mirrored whole from that very source, else None."""
        try:
            entry = MirroredEntry.model_validate_json(self._entry_path(submission_id).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        whole = all(self.holds(file.sha256, file.size) for file in entry.manifest.files)
        return entry.manifest if whole and entry.source == source else None

    def entry(self, submission_id: str) -> MirroredEntry:
        """What the mirror remembers of an entry (raises ``StorageError`` when that is nothing)."""
        path = self._entry_path(submission_id)
        with storage_errors("reading what the mirror remembers of the entry,", path):
            raw = path.read_bytes()
        try:
            return MirroredEntry.model_validate_json(raw)
        except ValidationError as error:
            raise StorageError(f"The mirror's note {path} is damaged.", hint="Score the entry again.") from error

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private folder on the store's file system, removed afterwards."""
        parent = self._root / "scratch"
        make_folder(parent)
        with storage_errors("creating a folder in", parent):
            folder = Path(tempfile.mkdtemp(dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove scratch folders that killed processes left behind more than a day ago."""
        oldest = time.time() - _ABANDONED_S
        for folder in (self._root / "scratch").glob("*"):
            with contextlib.suppress(FileNotFoundError):  # another scorer has removed it
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)

    def _set_aside(self, path: Path) -> None:
        folder = self._root / "damaged"
        make_folder(folder)
        with storage_errors("setting aside", path):
            path.replace(folder / path.name)

    def _entry_path(self, submission_id: str) -> Path:
        return self._root / "entries" / f"{submission_id}.json"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
