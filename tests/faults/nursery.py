"""Starts the project's real commands by fork from one process that has imported everything already.

A worker that is killed takes the server of its processes with it, and a new one imports torch again: five seconds of
processor time a kill. Here all workers share one such server, which belongs to the nursery. Everything else is as in
production: a process of its own for every command, and for every fetch, verification and evaluation.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from tests.scorer.processes import alive

_WAIT_S = 120.0


@dataclass(frozen=True)
class Process:
    """A command that runs; ``output`` is its standard output, ``errors`` the other one."""

    pid: int
    output: Path
    errors: Path

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """``kill -9``, unless it has ended; returns when it is dead."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float = _WAIT_S) -> None:
        """Wait for its end."""
        deadline = time.monotonic() + seconds
        while alive(self.pid):
            assert time.monotonic() < deadline, f"process {self.pid} does not end: {self.errors.read_text()}"
            time.sleep(0.02)

    def events(self) -> list[dict[str, Any]]:
        """What a scorer with ``--json`` has printed so far."""
        lines = self.output.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait_for(self, event: str) -> None:
        """Wait until a scorer has printed such an event."""
        deadline = time.monotonic() + _WAIT_S
        while event not in [found["event"] for found in self.events()]:
            assert alive(self.pid), f"the scorer ended: {self.errors.read_text()}"
            assert time.monotonic() < deadline, f"no {event} came: {self.events()}"
            time.sleep(0.01)


class Nursery:
    """The client's side: asks the nursery to start commands."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._started: list[int] = []

    def start(self, program: str, arguments: list[str], environment: Mapping[str, str], outputs: Path) -> Process:
        """Run ``scorer`` or ``leaderboard`` with these arguments; its output goes to files in ``outputs``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        number = len(self._started)
        output, errors = outputs / f"{program}-{number}.out", outputs / f"{program}-{number}.err"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DATACUP_")}
        order = {
            "program": program,
            "arguments": arguments,
            "environment": kept | dict(environment),
            "outputs": [str(output), str(errors)],
        }
        output.touch()
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        self._started.append(pid)
        return Process(pid, output, errors)

    def clear(self) -> None:
        """Kill whatever still runs."""
        for pid in self._started:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self._started.clear()


@contextmanager
def open_nursery() -> Iterator[Nursery]:
    """A nursery; what it started does not outlive the block."""
    command = [sys.executable, "-c", "from tests.faults.nursery import main; main()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        nursery = Nursery(process)
        try:
            yield nursery
        finally:
            nursery.clear()
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)


def main() -> None:
    """The nursery itself: one order a line, answered with the number of the new process."""
    from scorer.children import Children

    for module in ("leaderboard.app", "leaderboard.cli.serving", "scorer.cli"):
        import_module(module)

    Children().warm_up()
    signal.signal(signal.SIGCHLD, _collect)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _collect(_number: int, _frame: FrameType | None) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become(order: dict[str, Any]) -> None:
    """Go on as the command, and end with it."""
    from multiprocessing import forkserver

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(order["environment"])
    for path, descriptor in zip(order["outputs"], (1, 2), strict=True):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # The server is the nursery's child, not this process': it cannot be waited for here, and it does run.
    server: Any = forkserver
    server.ensure_running = server._forkserver.ensure_running = lambda: None
    status = 1
    try:
        if order["program"] == "scorer":
            from scorer.cli import main as command
        else:
            from leaderboard.cli import main as command
        sys.argv = [order["program"], *order["arguments"]]
        command()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
