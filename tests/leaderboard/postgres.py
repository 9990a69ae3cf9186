"""A throw-away PostgreSQL server: its own cluster in a temporary folder, on a loopback port, gone after the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SYSTEM_USER = "postgres"
# Durability is of no use to a database that is thrown away.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
}


def binaries() -> Path | None:
    """The folder of the newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


@dataclass(frozen=True)
class Cluster:
    """A server's folder and programs. ``address`` is without a database's name."""

    address: str
    user: str
    programs: Path
    data: Path
    options: str

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self.data.parent / "log"
        _run(self.user, self.programs / "pg_ctl", "-D", self.data, "-w", "-l", log, "-o", self.options, "start")

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        _run(self.user, self.programs / "pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")


@contextmanager
def server(programs: Path) -> Iterator[str]:
    """Run a server and yield its address, without a database's name."""
    with cluster(programs) as opened:
        yield opened.address


@contextmanager
def cluster(programs: Path, **settings: str) -> Iterator[Cluster]:
    """Run a server that can be stopped and started again; ``settings`` are PostgreSQL's own."""
    folder = Path(tempfile.mkdtemp(prefix="datacup-postgres-"))
    user = _SYSTEM_USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:
        shutil.chown(folder, user)  # PostgreSQL refuses to run as root
    port = _free_port()
    data = folder / "data"
    options = " ".join(f"-c {name}={value}" for name, value in (_SETTINGS | settings).items())
    options += f" -c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
    opened = Cluster(f"postgresql://datacup@127.0.0.1:{port}", user, programs, data, options)
    _run(user, programs / "initdb", "-D", data, "-U", "datacup", "--auth=trust", "--encoding=UTF8", "--no-sync")
    opened.start()
    try:
        yield opened
    finally:
        opened.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _run(user: str, *command: str | Path) -> None:
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        words = ["runuser", "-u", user, "--", *words]
    # A server that inherits a pipe would keep it open: its output goes to its own log.
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd="/", timeout=60)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
