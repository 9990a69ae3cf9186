"""What the system knows about processes."""

from __future__ import annotations

import contextlib
import time
from multiprocessing import forkserver
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether the process runs. A zombie does not: on some machines nobody collects orphans for a long time."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    """Whether the process ends within ten seconds."""
    for _ in range(200):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


def below(pid: int) -> list[int]:
    """The processes that ``pid`` started, and those that they started, as this process sees them."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [deeper for child in found for deeper in below(child)]


def server_pid() -> int:
    """The preloaded server of this process."""
    pid = forkserver._forkserver._forkserver_pid
    assert isinstance(pid, int)
    return pid
