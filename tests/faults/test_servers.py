"""The API or its database goes away in the middle of the work and comes back."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from leaderboard.settings import Settings
from tests.competition.verification.entries import TASKS, TinyEntry
from tests.faults.conftest import open_scene
from tests.faults.nursery import Nursery, Process
from tests.faults.proxy import Exchange
from tests.faults.scene import Scene
from tests.scorer.conftest import MovableClock, RunningHub

LOCKED_S = 10.0
SHORT_LEASE = 6


class Api:
    """A leaderboard in a process of its own, on a port that it keeps."""

    def __init__(self, nursery: Nursery, settings: Settings, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self._nursery = nursery
        self._folder = folder
        self._environment = {
            "DATACUP_DATA_DIR": str(settings.data_dir),
            "DATACUP_DATABASE_URL": settings.url,
            "DATACUP_COMPETITIONS": "",
            "DATACUP_HUBS": "",
            "DATACUP_LEASE_SECONDS": str(SHORT_LEASE),
            "DATACUP_BACKOFF_SECONDS": "0",
            "DATACUP_REAPER_SECONDS": "0.2",
        }
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; returns when it answers."""
        self.process: Process = self._nursery.start(
            "leaderboard", ["serve", "--port", str(self.port)], self._environment, self._folder
        )
        deadline = time.monotonic() + 100
        while not self._answers():
            assert time.monotonic() < deadline, self.process.errors.read_text()
            time.sleep(0.05)

    def restart(self) -> None:
        """``kill -9``, and start again."""
        self.process.kill()
        self.start()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v1/health").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def api(settings: Settings, nursery: Nursery, tmp_path: Path) -> Api:
    return Api(nursery, settings, tmp_path)


@pytest.fixture
def separate_scene(
    api: Api,
    settings: Settings,
    tokens: tuple[str, str],
    hub: RunningHub,
    nursery: Nursery,
    made: TinyEntry,
    stocked: Path,
    tmp_path: Path,
) -> Iterator[Scene]:
    """A scene whose leaderboard can be killed."""
    yield from open_scene(settings.url, api.url, tokens, hub, nursery, made, stocked, tmp_path, MovableClock())


def test_the_api_is_killed_when_it_has_granted_a_claim_and_when_it_has_accepted_a_result(
    separate_scene: Scene, api: Api
) -> None:
    """The worker never hears of either; the lost lease runs out, the lost result is sent again and counts once."""
    scene = separate_scene
    submission = scene.enter_mirrored()

    def restart(exchange: Exchange) -> None:
        assert exchange.forward().status in {200, 204}
        api.restart()
        exchange.drop()

    claim = scene.api.on(lambda line: line.endswith("/claims"), restart)
    post = scene.api.on(lambda line: line.endswith("/results"), restart)
    worker = scene.worker()
    deadline = time.monotonic() + 100
    while not scene.state(submission).terminal:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    worker.kill()
    assert (claim.happened, post.happened) == (1, 1)
    scene.settled()
    assert scene.results(submission) == [(task, 1) for task in TASKS]


def test_the_database_goes_away_while_results_come_in(scene: Scene, request: pytest.FixtureRequest) -> None:
    """PostgreSQL is stopped as by a crash and started again; SQLite's file is locked by somebody else."""
    submission = scene.enter_mirrored()
    away, back = threading.Event(), threading.Event()

    def take_away(exchange: Exchange) -> None:
        away.set()
        if sqlite:
            locked = threading.Event()
            threading.Thread(target=lock, args=(locked,), daemon=True).start()
            assert locked.wait(20)
            reply = exchange.forward()
        else:
            cluster.stop()
            reply = exchange.forward()
            assert reply.status == 503
            cluster.start()
            back.set()
        exchange.answer(reply)

    def lock(locked: threading.Event) -> None:
        with closing(sqlite3.connect(scene.database_url.removeprefix("sqlite:///"), isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            locked.set()
            time.sleep(LOCKED_S)
            holder.execute("ROLLBACK")
        back.set()

    sqlite = scene.database_url.startswith("sqlite")
    cluster = None if sqlite else request.getfixturevalue("cluster")
    scene.api.on(lambda line: line.endswith("/results"), take_away)
    scene.drain()
    assert away.is_set()
    assert back.wait(30)
    scene.settled()
    assert scene.results(submission) == [(task, 1) for task in TASKS]
