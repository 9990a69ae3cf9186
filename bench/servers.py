"""The project's servers as operators run them: the real commands, each in a process of its own, on a free port."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx

from competition.rules import find_competition
from leaderboard import migration
from leaderboard.accounts.service import create_token
from leaderboard.accounts.viewer import Scope
from leaderboard.clock import utc_now
from leaderboard.competitions.service import publish
from leaderboard.database import Database
from leaderboard.hub.app import Role
from leaderboard.hub.app import create_token as create_hub_token

_LISTENS_S = 60.0


def prepare(database_url: str, competition: str) -> tuple[str, str]:
    """Migrate a database and publish a competition; tokens of the participant alice and of a scorer."""
    database = Database(database_url)
    migration.upgrade(database)
    now = utc_now()
    with database.writing() as session:
        publish(session, find_competition(competition), now)
        made = [
            create_token(session, account=name, scopes=[scope], now=now, expires_at=now + timedelta(days=1))
            for name, scope in (("alice", Scope.SUBMIT), ("rater", Scope.SCORE))
        ]
    database.close()
    return made[0], made[1]


@contextmanager
def leaderboard(database_url: str, competition: str) -> Iterator[tuple[str, int]]:
    """A leaderboard that takes entries from any Hub: its address and the number of its process."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"DATABASE_URL": database_url, "DATA_DIR": folder, "HUBS": "", "COMPETITIONS": competition}
        with _running(["serve"], settings, Path(folder) / "said", "/api/v1/health") as (address, pid):
            yield address, pid


@contextmanager
def hub(data: Path) -> Iterator[tuple[str, str]]:
    """The local Hub, whose repositories lie below ``data``: its address, and a token of the user alice."""
    token = create_hub_token(data / "hub", "alice", Role.WRITE, None)
    with _running(["hub"], {"DATA_DIR": str(data.resolve())}, data / "said", "/api/whoami-v2") as (address, _):
        yield address, token


@contextmanager
def _running(arguments: list[str], settings: Mapping[str, str], said: Path, page: str) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-c", "from leaderboard.cli import main; main()", *arguments, "--port", "0"]
    environment = os.environ | {f"DATACUP_{name}": value for name, value in settings.items()}
    with said.open("wb") as errors, subprocess.Popen(command, env=environment, stderr=errors) as process:
        try:
            yield _address(process, said, page), process.pid
        finally:
            process.terminate()


def _address(process: subprocess.Popen[bytes], said: Path, page: str) -> str:
    """The address that a server names, once it answers."""
    deadline = time.monotonic() + _LISTENS_S
    while process.poll() is None and time.monotonic() < deadline:
        words = said.read_text().split()
        address = words[words.index("on") + 1] if "on" in words[:-1] else ""
        if address:
            try:
                httpx.get(f"{address}{page}")
            except httpx.HTTPError:
                pass
            else:
                return address
        time.sleep(0.1)
    raise RuntimeError(said.read_text())
