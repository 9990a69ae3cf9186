"""The archive: what all scorers share of their mirrors, behind any URL that fsspec reaches (``s3://``, ``gs://``, ...).

``objects/ab/cd/<sha256>`` holds the files, ``entries/<submission id>.json`` what an entry consists of, ``incoming/``
what is on its way, ``damaged/`` what turned out not to be what its name says: the mirror's layout. Everything is
written under a name of its own and then moved: several scorers may write the same at once, and no reader sees a part.

Only processes that read no entry use this: it has the credentials. They are fsspec's affair (``AWS_*``, a profile, a
service account, ...). What is read and written here are bytes without meaning, and digests of them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import structlog

from competition.data.atomic import storage_errors
from competition.errors import DataCupError, ServiceUnavailableError, StorageError, UsageError
from competition.printable import printable
from scorer.mirror import SHA256, Blob, Leftover, MirroredEntry, parse_entry

Beat = Callable[[], None]
"""Called again and again while bytes move; what it raises ends the work."""

_BLOCK = 4 * 2**20
_MAX_RECORD_BYTES = 2 * 2**20
# A blob that lies there for longer is put anew, which makes it young again: garbage is only what is old.
_RENEWED_AFTER_S = 24 * 3600.0
# What file systems call the time of a file's last change.
_TIMES = ("mtime", "LastModified", "last_modified", "modified", "updated", "created")

log = structlog.get_logger()


class DamagedBlobError(StorageError):
    """A blob of the archive is not what its name says; it has been set aside."""


class Archive:
    """A content-addressed store behind a URL, shared by any number of scorers.

    Every method raises ``ServiceUnavailableError`` when the archive cannot be reached or refuses. Its message, which
    may become public, names no place; the log does.
    """

    def __init__(self, system: Any, root: str) -> None:
        self._system = system
        self._root = root.rstrip("/")

    @classmethod
    def open(cls, url: str) -> Archive:
        """The archive at ``url`` (raises ``UsageError`` when that cannot be one)."""
        import fsspec  # type: ignore[import-untyped]

        protocol = url.partition("://")[0] if "://" in url else ""
        if not protocol or protocol == "memory":
            raise UsageError(
                "DATACUP_ARCHIVE is no URL of a store that scorers can share.",
                hint="Give for instance s3://bucket/folder, gs://bucket/folder or file:///mnt/archive.",
            )
        try:
            system, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise UsageError(
                f"DATACUP_ARCHIVE: {protocol}:// needs a package that is not installed ({error}).",
                hint="For s3:// that is s3fs, for gs:// gcsfs, for abfs:// adlfs.",
            ) from error
        except ValueError as error:
            raise UsageError(f"DATACUP_ARCHIVE cannot be opened: {protocol}:// is not known.") from error
        return cls(system, root)

    @property
    def several(self) -> bool:
        """Whether several threads may use it at a time."""
        return bool(getattr(self._system, "async_impl", False)) or self._local

    def holds(self, sha256: str, size: int) -> bool:
        """Whether the blob is there with that size."""
        blob = self.look(sha256)
        return blob is not None and blob.size == size

    def look(self, sha256: str) -> Blob | None:
        """The blob as it lies there now."""
        with self._errors("looking for a file"):
            try:
                info = self._system.info(self._path(sha256))
            except FileNotFoundError:
                return None
        return Blob(sha256, int(info["size"]), _modified(info))

    def put(self, file: Path, sha256: str, size: int, beat: Beat) -> bool:
        """Have the archive hold a file; whether it had to be sent. Its bytes are compared with the digest on their way.

        Raises:
            StorageError: the file is absent, or is not what its digest says; nothing of it is in the archive.
        """
        there = self.look(sha256)
        young = there is not None and (there.modified is None or time.time() - there.modified < _RENEWED_AFTER_S)
        if there is not None and there.size == size and young:
            return False
        incoming = self._incoming()
        try:
            found = self._copy(file, incoming, beat)
            if found != sha256:
                raise StorageError(
                    f"The mirrored file {file} is damaged (its sha256 is {found}): it is not archived.",
                    hint="`datacup-scorer mirror verify --repair` fetches it again.",
                )
            self._move(incoming, self._path(sha256))
        except BaseException:
            self._discard(incoming)
            raise
        if not self.holds(sha256, size):
            raise ServiceUnavailableError("The archive did not keep a file that was put there.", hint=_AGAIN)
        return True

    def get(self, sha256: str, size: int, target: Path, beat: Beat) -> bool:
        """Fetch a blob into the new file ``target``; False when the archive has none of that size.

        Raises:
            DamagedBlobError: its bytes are others than its name says.
            StorageError: the target cannot be written.
        """
        if not self.holds(sha256, size):
            return False
        digest, left = hashlib.sha256(), size
        with storage_errors("writing", target):
            stream = target.open("xb")
        with stream, self._errors("reading a file"), self._system.open(self._path(sha256), "rb") as source:
            while left and (block := source.read(min(_BLOCK, left))):
                beat()
                digest.update(block)
                with storage_errors("writing", target):
                    stream.write(block)
                left -= len(block)
            with storage_errors("writing", target):
                stream.flush()
        if left or digest.hexdigest() != sha256:
            self.set_aside(sha256)
            raise DamagedBlobError(
                f"The archive's file {sha256} is damaged and has been set aside.",
                hint="`datacup-scorer mirror push` puts it there again from a mirror that has it.",
            )
        return True

    def digest(self, sha256: str) -> str:
        """The digest that the blob of that name really has, read whole."""
        digest = hashlib.sha256()
        with self._errors("reading a file"), self._system.open(self._path(sha256), "rb") as source:
            while block := source.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def remember(self, submission_id: str, entry: MirroredEntry) -> None:
        """Note that all files of an entry are in the archive."""
        incoming, raw = self._incoming(), entry.model_dump_json(indent=1).encode()
        with self._errors("noting an entry"):
            self._written(incoming, lambda stream: stream.write(raw))
        self._move(incoming, self._entry_path(submission_id))

    def entry(self, submission_id: str) -> MirroredEntry | None:
        """What is remembered about an entry (raises ``DataFormatError`` when that cannot be read)."""
        path = self._entry_path(submission_id)
        with self._errors("looking for an entry"):
            try:
                raw = self._system.cat_file(path, end=_MAX_RECORD_BYTES)
            except FileNotFoundError:
                return None
        return parse_entry(raw, f"entries/{submission_id}.json of the archive")

    def entries(self) -> list[tuple[str, float | None]]:
        """The ids of all remembered entries in order, with the time at which each was remembered."""
        found = self._listed("entries")
        return sorted(
            (name.removesuffix(".json"), _modified(info)) for name, info in found.items() if name.endswith(".json")
        )

    def blobs(self) -> Iterator[Blob]:
        """All files of the archive."""
        for name, info in sorted(self._listed("objects").items()):
            if SHA256.fullmatch(name):
                yield Blob(name, int(info["size"]), _modified(info))

    def remove(self, sha256: str) -> None:
        """Delete a blob (an organiser's act)."""
        self._remove(self._path(sha256))

    def forget(self, submission_id: str) -> None:
        """Delete what is remembered about an entry (an organiser's act)."""
        self._remove(self._entry_path(submission_id))

    def set_aside(self, sha256: str) -> None:
        """Move a blob to where nothing uses it."""
        self._move(self._path(sha256), f"{self._root}/damaged/{sha256}")

    def leftovers(self) -> Iterator[Leftover]:
        """What writers that were killed left on its way, and what was set aside."""
        for folder in ("incoming", "damaged"):
            for name, info in sorted(self._listed(folder).items()):
                yield Leftover(f"{folder}/{name}", int(info["size"]), _modified(info))

    def clear(self, leftover: Leftover) -> None:
        """Delete one (an organiser's act)."""
        self._remove(f"{self._root}/{leftover.name}")

    # --- the file system -----------------------------------------------------------------------------------------

    @property
    def _local(self) -> bool:
        protocol = self._system.protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def _path(self, sha256: str) -> str:
        return f"{self._root}/objects/{sha256[:2]}/{sha256[2:4]}/{sha256}"

    def _entry_path(self, submission_id: str) -> str:
        return f"{self._root}/entries/{submission_id}.json"

    def _incoming(self) -> str:
        return f"{self._root}/incoming/{uuid.uuid4().hex}"

    def _copy(self, file: Path, path: str, beat: Beat) -> str:
        """Copy a file of this machine to a new one there; the digest of what was copied."""
        digest = hashlib.sha256()

        def copy(stream: BinaryIO) -> None:
            while True:
                with storage_errors("reading", file):
                    block = source.read(_BLOCK)
                if not block:
                    return
                beat()
                digest.update(block)
                stream.write(block)

        with storage_errors("reading", file), _plain(file) as source, self._errors("writing a file"):
            self._written(path, copy)
        return digest.hexdigest()

    def _written(self, path: str, fill: Callable[[BinaryIO], object]) -> None:
        with self._opened(path) as stream:
            fill(stream)
            if self._local:
                stream.flush()
                os.fsync(stream.fileno())

    def _opened(self, path: str) -> BinaryIO:
        """A new file there, in a folder that is made where there are folders."""
        try:
            return cast("BinaryIO", self._system.open(path, "wb"))
        except FileNotFoundError:
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            return cast("BinaryIO", self._system.open(path, "wb"))

    def _move(self, source: str, target: str) -> None:
        """Rename, or copy and delete where the store knows no renaming; another's file of that name is replaced."""
        with self._errors("putting a file in its place"):
            if self._local:
                self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
                Path(source).replace(target)
                return
            try:
                self._system.mv(source, target)
            except FileNotFoundError:
                self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
                self._system.mv(source, target)

    def _remove(self, path: str) -> None:
        with self._errors("deleting a file"), contextlib.suppress(FileNotFoundError):  # another did
            self._system.rm_file(path)

    def _discard(self, path: str) -> None:
        """Delete a file on its way. One that stays is found by the organiser's clean-up."""
        try:
            self._system.rm_file(path)
        except Exception as error:  # noqa: BLE001 - the reason why it is discarded counts, not that it cannot be
            log.debug("archive_leftover", path=path, error=repr(error))

    def _listed(self, folder: str) -> Mapping[str, Mapping[str, Any]]:
        with self._errors("listing files"):
            self._system.invalidate_cache()
            try:
                found = self._system.find(f"{self._root}/{folder}", detail=True)
            except FileNotFoundError:
                return {}
        return {path.rpartition("/")[2]: info for path, info in found.items()}

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        """Say what the store's library raises in one sentence. Which errors those are differs from store to store."""
        try:
            yield
        except DataCupError:
            raise
        except Exception as error:
            log.warning("archive_failed", action=action, root=self._root, error=printable(repr(error)[:500]))
            raise ServiceUnavailableError(
                f"The archive of mirrored entries failed while {action} ({type(error).__name__}).", hint=_AGAIN
            ) from error


_AGAIN = "It is tried again; the scorer's log says more."


def _plain(file: Path) -> BinaryIO:
    """An ordinary file, open for reading: processes that have read entries write where it lies, and may leave links."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "It is not a plain file", str(file))
    return os.fdopen(descriptor, "rb")


def _modified(info: Mapping[str, Any]) -> float | None:
    """The time of the last change, in seconds since the epoch, as far as the store tells it."""
    for name in _TIMES:
        value = info.get(name)
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                continue
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return None
