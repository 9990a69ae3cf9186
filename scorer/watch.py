"""What a process and all that it started use, as the system counts it: memory, tasks, and what is left on the disks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from competition.errors import EngineError, StorageError

_PAUSE_S = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Position of num_threads in /proc/<pid>/stat after the name in brackets.
_THREADS = 17


class Watch:
    """Looks after everything below the process ``pid``, which itself only waits.

    ``memory_bytes`` bounds the resident memory and ``tasks`` the processes and threads, of all together; where
    ``folders`` lie, ``free_bytes`` must stay free.
    """

    def __init__(self, pid: int, memory_bytes: int, tasks: int, folders: Iterable[Path], free_bytes: int) -> None:
        self._pid = pid
        self._memory_bytes = memory_bytes
        self._tasks = tasks
        self._folders = tuple(folders)
        self._free_bytes = free_bytes
        self._next = 0.0

    def check(self) -> None:
        """Look again, at most ten times a second.

        Raises:
            EngineError: too much memory is used, or there are too many processes.
            StorageError: a disk is about to be full.
        """
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PAUSE_S
        memory, tasks = _usage(self._pid, self._tasks)
        if memory > self._memory_bytes:
            raise EngineError(f"A process of the scorer was ended because it used over {self._memory_bytes} bytes.")
        if tasks > self._tasks:
            raise EngineError(f"A process of the scorer was ended because it started over {self._tasks} others.")
        for folder in self._folders:
            free = free_bytes(folder)
            if free < self._free_bytes:
                raise StorageError(
                    f"Only {free} bytes are left where {folder} lies; a process that writes there was ended.",
                    hint="Free some space; the job is tried again.",
                )


def free_bytes(folder: Path) -> int:
    """What this user may still write to the disk of ``folder``."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def _usage(root: int, enough: int) -> tuple[int, int]:
    """Resident bytes and tasks of all processes below ``root``; counting ends where there are more than ``enough``."""
    memory = tasks = 0
    pending = _children(root)
    while pending and tasks <= enough:
        pid = pending.pop()
        try:
            memory += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
            tasks += int(fields[_THREADS])
        except (OSError, IndexError):
            continue  # it has ended
        pending += _children(pid)
    return memory, tasks


def _children(pid: int) -> list[int]:
    """The processes that ``pid`` started. A thread that started one hands it to the process when it ends."""
    found: list[int] = []
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text(encoding="ascii").split())
    except OSError:
        pass  # it has ended, or the system is not Linux
    return found
