"""What a command costs: wall seconds, processor seconds and memory of its process and all that descend from it."""

from __future__ import annotations

import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SET_CHILD_SUBREAPER = 36
_SAMPLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds, and bytes at the highest point (0 where they were not measured)."""

    wall: float
    cpu: float
    memory: int = 0


def median(costs: Sequence[Cost]) -> Cost:
    """Each figure's median; the memory is the highest."""
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        max(cost.memory for cost in costs),
    )


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None, *, memory: bool = False) -> Cost:
    """Run a command to its end.

    Processor seconds are those of every process that it started: orphans (a fork server outlives its parent) come to
    this process, which waits for them. Memory is the sum over these processes, pages that they share counted once; it
    is looked at fifty times a second, which slows them down, so runs for time and runs for memory are different runs.

    Raises:
        RuntimeError: the command failed; the message is the end of what it said.
    """
    adopt_orphans()
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment() | dict(environment or {}),
            start_new_session=True,
        )
        watch = _MemoryWatch(process.pid) if memory else None
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        cpu = usage.ru_utime + usage.ru_stime + _orphans_cpu()
        peak = watch.stop() if watch else 0
        if process.returncode:
            output.seek(0)
            said = output.read().decode(errors="replace").strip()[-2000:]
            raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}: {said}")
    return Cost(wall, cpu, peak)


def _environment() -> dict[str, str]:
    """This process's, but that Python keeps what it compiles, as it does where a person runs a command twice."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def adopt_orphans() -> None:
    """Grandchildren whose parent has ended become this process's children (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _orphans_cpu() -> float:
    total = 0.0
    while True:
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return total
        total += usage.ru_utime + usage.ru_stime


class _MemoryWatch:
    """Looks at the processes of a session until stopped."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The highest sum seen, in bytes."""
        self._done.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self._peak = max(self._peak, sum(map(_proportional_bytes, _members(self._session))))


def _members(session: int) -> list[Path]:
    """Process folders of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found.append(folder)
    return found


def _proportional_bytes(folder: Path) -> int:
    try:
        lines = (folder / "smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
