"""The processes of the demo: started with a log file each, watched, and always stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import httpx

from competition.errors import ServiceUnavailableError

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


def free_port(preferred: int) -> int:
    """``preferred`` when nothing listens there, else any free port."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise ServiceUnavailableError("No port is free on the loopback interface.")


def isolate() -> None:
    """Let this process and those that it starts speak to each other only, whatever the user's shell is set up for."""
    for name in [name for name in os.environ if name.startswith(("DATACUP_", "HF_"))]:
        del os.environ[name]
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join([*filter(None, [os.environ.get(name)]), "127.0.0.1", "localhost"])


def command(name: str) -> str:
    """Path of one of DataCup's own commands, in the environment that runs the demo."""
    return str(Path(sys.executable).parent / name)


def call(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run one command to its end and return what it printed on stdout; its notes go to this terminal."""
    done = subprocess.run(
        [command(arguments[0]), *arguments[1:]],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceUnavailableError(f"`{' '.join(arguments[:3])}` ended with exit code {done.returncode}.")
    return done.stdout


def stay(arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Become the given command: it owns the terminal from here on."""
    os.execve(command(arguments[0]), list(arguments), {**os.environ, **environment})  # noqa: S606 - no shell is wanted


class Service:
    """One background process with its log file."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = arguments[0]
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [command(arguments[0]), *arguments[1:]],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def check(self) -> None:
        """Raise ``ServiceUnavailableError`` with the end of the log when the process is gone."""
        if self._process.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])
            raise ServiceUnavailableError(
                f"{self.name} stopped with exit code {self._process.returncode}. The end of its log:\n{tail}",
                hint=f"The whole log is {self.log}",
            )

    def wait_until_answering(self, url: str) -> None:
        """Wait until ``url`` answers at all."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(httpx.TransportError):
                httpx.get(url, timeout=2.0)
                return
            time.sleep(0.1)
        raise ServiceUnavailableError(f"{self.name} did not start in {_START_SECONDS:.0f} seconds.", hint=str(self.log))

    def stop(self) -> None:
        """Ask the process to end, and insist after a while."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@contextlib.contextmanager
def running(*services: Service) -> Iterator[None]:
    """Stop all services at the end, whatever happened."""
    try:
        yield
    finally:
        for service in reversed(services):
            service.stop()
