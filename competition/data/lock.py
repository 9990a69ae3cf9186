"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from competition.data.atomic import storage_errors
from competition.errors import UsageError

_HELD: set[IO[bytes]] = set()


@contextmanager
def folder_lock(folder: Path, activity: str, option: str) -> Iterator[None]:
    """Keep a second process out of ``folder``; the lock ends with this process, however it ends.

    Args:
        folder: an existing folder; gets a file ``.lock``.
        activity: what the other process does there, in words ("is training").
        option: of the command that names another folder.

    Raises:
        UsageError: another process holds it.
        StorageError: the lock's file cannot be made.
    """
    with storage_errors("opening", folder / ".lock"):
        stream = (folder / ".lock").open("wb")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"Another process {activity} in {folder}.", hint=f"Wait for it, or choose another {option}."
            ) from error
        _HELD.add(stream)
        try:
            yield
        finally:
            _HELD.discard(stream)


def _let_go() -> None:
    """A forked child, which may outlive this process for some seconds, holds no lock of its parent."""
    for stream in _HELD:
        stream.close()


os.register_at_fork(after_in_child=_let_go)
