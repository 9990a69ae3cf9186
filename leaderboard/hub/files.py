"""Writing files so that a reader, or a crash, sees either nothing or the whole."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from leaderboard.hub.errors import DiskFullError, TooLargeError


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn a full disk or an exhausted quota into DiskFullError."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(
                "The Hub's disk is full.", hint="Make room on the Hub's disk, then try again."
            ) from error
        raise


def make_root(root: Path) -> None:
    """Make the folder that holds everything, private repositories and the signing secret too, for its owner only."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)


class Spool:
    """A temporary file that counts and hashes what is written to it, and vanishes unless it is moved into place.

    ``limit`` is in bytes; writing more raises TooLargeError.
    """

    def __init__(self, folder: Path, *, limit: int, what: str) -> None:
        self.path = folder / f"{secrets.token_hex(16)}.part"
        self.size = 0
        self._limit = limit
        self._what = what
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: after a full disk there is nothing left that closing would try to write again.
        self._file = self.path.open("xb", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Raises TooLargeError over the limit and DiskFullError when the disk is full."""
        self.size += len(chunk)
        self.check_size(self.size)
        self._hash.update(chunk)
        rest = memoryview(chunk)
        with disk_errors():
            while rest:
                rest = rest[self._file.write(rest) :]

    def check_size(self, size: int) -> None:
        """Raises TooLargeError when ``size`` bytes would be too many."""
        if size > self._limit:
            raise TooLargeError(f"{self._what} is larger than the {self._limit} bytes that are allowed.")

    @property
    def sha256(self) -> str:
        """Of everything written so far, in hex."""
        return self._hash.hexdigest()

    def move_to(self, target: Path) -> None:
        """Put the file in place durably; an existing target is replaced in one step."""
        with disk_errors():
            os.fsync(self._file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            self.path.replace(target)
            sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes, scratch: Path) -> None:
    """Write a file durably and in one step; ``scratch`` is a folder on the same file system."""
    with Spool(scratch, limit=len(content), what=path.name) as spool:
        spool.write(content)
        spool.move_to(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock among threads and processes of one machine; the kernel frees it if the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
