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


@contextmanager
def server(programs: Path) -> Iterator[str]:
    """Run a server and yield its address, without a database's name."""
    folder = Path(tempfile.mkdtemp(prefix="datacup-postgres-"))
    user = _SYSTEM_USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:
        shutil.chown(folder, user)  # PostgreSQL refuses to run as root
    port = _free_port()
    data = folder / "data"
    options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
    options += f" -c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
    _run(user, programs / "initdb", "-D", data, "-U", "datacup", "--auth=trust", "--encoding=UTF8", "--no-sync")
    _run(user, programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
    try:
        yield f"postgresql://datacup@127.0.0.1:{port}"
    finally:
        _run(user, programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
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
