"""Files that appear whole or not at all, and storage failures said in one sentence."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from competition.errors import StorageError

PARTIAL_SUFFIX = ".partial"

_REASONS = {
    errno.ENOSPC: ("There is no space left on the device", "Free some space, or choose a folder on another disk"),
    errno.EDQUOT: ("The disk quota is used up", "Free some space, or choose a folder on another disk"),
    errno.EFBIG: (
        "The file would exceed the largest size allowed here",
        "Raise the limit (`ulimit -f`), or use smaller files",
    ),
    errno.EACCES: ("Permission is denied", "Choose a folder that you may write to"),
    errno.EROFS: ("The file system is read-only", "Choose a folder that you may write to"),
}


def storage_error(error: OSError, action: str, path: Path) -> StorageError:
    """Say an operating-system failure while ``action`` (for instance "writing") ``path`` as a user's error."""
    code = error.errno if error.errno is not None else 0
    cause, advice = _REASONS.get(code, (error.strerror or str(error), "Check the path and the disk"))
    return StorageError(
        f"{cause} while {action} {path}.", hint=f"{advice}, then run the same command again: finished work is kept."
    )


@contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Turn every ``OSError`` of the block into a ``StorageError`` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, action, path) from error


@contextmanager
def atomic_writer(path: Path, *, synced: bool = True) -> Iterator[BinaryIO]:
    """Write ``path`` through a hidden sibling that replaces it only when the block succeeds.

    The sibling's name is unique, so two processes that write the same file never share it: the last one wins whole.
    ``synced`` files also survive a power cut; the others survive a killed process, and cost no wait for the disk.

    Raises:
        StorageError: the disk is full or the path cannot be written; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL_SUFFIX}")
    with storage_errors("writing", path):
        try:
            with partial.open("xb") as stream:
                yield stream
                stream.flush()
                if synced:
                    os.fsync(stream.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        if synced:
            _sync_folder(path.parent)


def write_bytes(path: Path, data: bytes, *, synced: bool = True) -> None:
    """Write a small file atomically."""
    with atomic_writer(path, synced=synced) as stream:
        stream.write(data)


def remove_partials(*folders: Path) -> None:
    """Remove what killed writers left of their files; nobody may be writing there. A folder may be absent.

    Raises:
        StorageError: a file cannot be removed.
    """
    for folder in folders:
        for path in folder.glob(f".*{PARTIAL_SUFFIX}"):
            with storage_errors("removing", path):
                path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Create a folder and its parents.

    Raises:
        StorageError: it cannot be created.
    """
    with storage_errors("creating the folder", path):
        path.mkdir(parents=True, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: without this a power loss may bring the old directory entry back."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
