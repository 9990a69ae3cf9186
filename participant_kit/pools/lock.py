"""One process at a time works on a pool's folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from competition.data.atomic import storage_errors
from competition.errors import UsageError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Refuse a second process in the same folder; the lock ends with the process, however it ends.

    Raises:
        UsageError: another process holds it.
        StorageError: the folder cannot be written.
    """
    path = folder / ".lock"
    with storage_errors("opening", path):
        stream = path.open("wb")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"Another process works on {folder}.", hint="Wait for it, or choose another folder."
            ) from error
        yield
