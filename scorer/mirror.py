"""The mirror: every file of every entry by its digest, because repositories get deleted, squashed or made private.

``objects/ab/cd/<sha256>`` holds the files, ``entries/<submission id>.json`` says which files an entry consists of, and
``scratch/`` what is on its way. Everything is written aside, synced, and renamed into place.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.errors import DataFormatError, StorageError
from competition.records.base import CommitSha, HttpUrl, Record, RelativePath, RepoId
from competition.records.manifest import SubmissionManifest

SHA256 = re.compile(r"[0-9a-f]{64}")
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


@dataclass(frozen=True)
class Blob:
    """A file of a store as it lies there; ``modified``: seconds since the epoch, None where the store does not say."""

    sha256: str
    size: int
    modified: float | None


@dataclass(frozen=True)
class Leftover:
    """A file of a store that is no part of any entry: set aside, or never finished. ``name`` is below the root."""

    name: str
    size: int
    modified: float | None


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

    def keeps(self, sha256: str, size: int) -> bool:
        """Whether the file is there for an entry that comes now: its age begins anew, so that it is no garbage yet."""
        try:
            os.utime(self.path(sha256))
        except OSError:  # absent, or of another user of this machine: then it is fetched anew, and becomes ours
            return False
        return self.holds(sha256, size)

    def verified(self, sha256: str) -> Path:
        """The file of that digest, read once to be sure of it.

        Raises:
            DamagedFileError: it is another one. It is set aside, unless the mirror is read-only here: then somebody who
                may write must look too.
            StorageError: it is absent.
        """
        path, found = self.path(sha256), self.digest(sha256)
        if found != sha256:
            if os.access(path.parent, os.W_OK):
                self.set_aside(sha256)
            raise DamagedFileError(path, sha256, found)
        return path

    def adopt(self, file: Path, sha256: str) -> None:
        """Move a scratch file, whose digest is known, into the store: on disk before it can be seen.

        That it can be seen after a power cut, too, is seen to by ``remember``.
        """
        target = self.path(sha256)
        make_folder(target.parent)
        with storage_errors("mirroring", target):
            with file.open("rb") as stream:
                os.fchmod(stream.fileno(), 0o444)
                os.fsync(stream.fileno())
            file.replace(target)

    def remember(self, submission_id: str, entry: MirroredEntry) -> None:
        """Note that all files of an entry are in the store."""
        for file in entry.manifest.files:
            folder = self.path(file.sha256).parent
            with storage_errors("mirroring into", folder):
                _sync(folder)
        path = self._entry_path(submission_id)
        make_folder(path.parent)
        write_bytes(path, entry.model_dump_json(indent=1).encode())

    def recall(self, submission_id: str, source: Source) -> SubmissionManifest | None:
        """The manifest of an entry that was mirrored whole from that very source, else None."""
        try:
            entry = self.entry(submission_id)
        except DataFormatError:
            return None
        if entry is None or entry.source != source:
            return None
        whole = all(self.holds(file.sha256, file.size) for file in entry.manifest.files)
        return entry.manifest if whole else None

    def entry(self, submission_id: str) -> MirroredEntry | None:
        """What is remembered about an entry (raises ``DataFormatError`` when that cannot be read)."""
        path = self._entry_path(submission_id)
        try:
            return parse_entry(path.read_bytes(), str(path))
        except FileNotFoundError:
            return None

    def entries(self) -> list[tuple[str, float | None]]:
        """The ids of all remembered entries in order, with the time at which each was remembered."""
        found = [(path.stem, _modified(path)) for path in (self._root / "entries").glob("*.json")]
        return sorted((name, modified) for name, modified in found if modified is not None)

    def blobs(self) -> Iterator[Blob]:
        """All files of the store."""
        for path in sorted((self._root / "objects").glob("??/??/*")):
            blob = self.look(path.name) if SHA256.fullmatch(path.name) else None
            if blob is not None:
                yield blob

    def look(self, sha256: str) -> Blob | None:
        """The file of that digest as it lies there now."""
        try:
            state = self.path(sha256).lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(state.st_mode):
            return None
        return Blob(sha256, state.st_size, state.st_mtime)

    def digest(self, sha256: str) -> str:
        """The digest that the file of that name really has, read whole (raises ``StorageError``)."""
        path = self.path(sha256)
        with storage_errors("reading the mirrored file", path):
            return file_sha256(path)

    def remove(self, sha256: str) -> None:
        """Delete a file (an organiser's act)."""
        path = self.path(sha256)
        with storage_errors("deleting", path):
            path.unlink(missing_ok=True)

    def forget(self, submission_id: str) -> None:
        """Delete what is remembered about an entry (an organiser's act)."""
        path = self._entry_path(submission_id)
        with storage_errors("deleting", path):
            path.unlink(missing_ok=True)

    def set_aside(self, sha256: str) -> None:
        """Move a file to where nothing uses it (raises ``StorageError``)."""
        path, folder = self.path(sha256), self._root / "damaged"
        make_folder(folder)
        with storage_errors("setting aside", path):
            path.replace(folder / path.name)

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

    def leftovers(self) -> Iterator[Leftover]:
        """What was set aside. (What is on its way is the affair of ``sweep``.)"""
        for path in sorted((self._root / "damaged").glob("*")):
            state = path.lstat()
            yield Leftover(f"damaged/{path.name}", state.st_size, state.st_mtime)

    def clear(self, leftover: Leftover) -> None:
        """Delete one (an organiser's act)."""
        path = self._root / leftover.name
        with storage_errors("deleting", path):
            path.unlink(missing_ok=True)

    def _entry_path(self, submission_id: str) -> Path:
        return self._root / "entries" / f"{submission_id}.json"


def parse_entry(raw: bytes, place: str) -> MirroredEntry:
    """What is remembered about an entry, from its file (raises ``DataFormatError`` naming ``place``)."""
    try:
        return MirroredEntry.model_validate_json(raw)
    except ValidationError as error:
        raise DataFormatError(
            f"{place} is no record of a mirrored entry.", hint="Remove it: the next fetch of the entry writes it anew."
        ) from error


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # somebody else has removed it
        return None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
