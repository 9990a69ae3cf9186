"""Scenes for faults: every test that asks for ``scene`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from competition.client import LeaderboardClient
from leaderboard import migration
from leaderboard.accounts.service import create_token
from leaderboard.accounts.viewer import Scope
from leaderboard.app import create_app
from leaderboard.clock import utc_now
from leaderboard.competitions.service import publish
from leaderboard.database import Database
from leaderboard.settings import Settings
from tests.competition.verification.entries import (
    COMPETITION_YAML,
    TinyEntry,
    tiny_competition,
    write_evaluation_sets,
    write_pool,
)
from tests.faults.nursery import Nursery, open_nursery
from tests.faults.proxy import open_proxy
from tests.faults.scene import LEASE, Scene
from tests.leaderboard import postgres
from tests.scorer.conftest import MovableClock, RunningHub, Workplace, hub, plain_client
from tests.serving import serve

__all__ = ["hub", "plain_client"]

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``pytest -m faults`` runs all of this folder."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.slow)
            # The Hub's client hands a file to its HTTP library in a way that the library no longer likes.
            item.add_marker(pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"))


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """One for all tests."""
    with open_nursery() as opened:
        yield opened


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    """A PostgreSQL server that keeps what it has committed when it is killed; with a migrated ``template``."""
    programs = postgres.binaries()
    if programs is None:
        if "postgres" in os.environ.get("DATACUP_REQUIRE", ""):
            pytest.fail("PostgreSQL is required here and its programs are not installed")
        pytest.skip("PostgreSQL is not installed")
    with postgres.cluster(programs, synchronous_commit="on") as opened:
        _execute(opened.address, "CREATE DATABASE template")
        _prepare(f"{opened.address}/template")
        yield opened


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file with the tiny competition."""
    path = tmp_path_factory.mktemp("template") / "leaderboard.db"
    _prepare(f"sqlite:///{path}")
    return path


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a fresh database with the tiny competition."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "leaderboard.db")
        yield f"sqlite:///{tmp_path / 'leaderboard.db'}"
        return
    address = request.getfixturevalue("cluster").address
    name = f"t{uuid.uuid4().hex}"
    _execute(address, f"CREATE DATABASE {name} TEMPLATE template")
    yield f"{address}/{name}"
    _execute(address, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> TinyEntry:
    """An entry without a manifest, to be copied."""
    return TinyEntry(tmp_path_factory.mktemp("made") / "entry").build()


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scorer's folders, filled, to be copied."""
    root = tmp_path_factory.mktemp("stocked") / "scorer"
    root.mkdir()
    write_pool(root / "pools")
    write_evaluation_sets(root / "evaluation")
    (root / "tiny.yaml").write_text(COMPETITION_YAML)
    return root


@pytest.fixture
def tokens(database_url: str) -> tuple[str, str]:
    """Of a participant and of a scorer."""
    database = Database(database_url)
    now = utc_now()
    with database.writing() as session:
        made = [
            create_token(session, account=name, scopes=[scope], now=now, expires_at=now + timedelta(days=900))
            for name, scope in (("alice", Scope.SUBMIT), ("rater", Scope.SCORE))
        ]
    database.close()
    return made[0], made[1]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Of the leaderboard. Leases end when a test moves the clock, and never because the machine is slow."""
    return Settings(
        data_dir=tmp_path / "board",
        database_url=database_url,
        lease_seconds=LEASE,
        backoff_seconds=0.0,
        reaper_seconds=0,  # at claims alone: one that runs beside a claim may hold the job that is waited for
        max_attempts=4,
        hubs=(),
    )


@pytest.fixture
def scene(
    settings: Settings,
    tokens: tuple[str, str],
    hub: RunningHub,
    nursery: Nursery,
    made: TinyEntry,
    stocked: Path,
    tmp_path: Path,
) -> Iterator[Scene]:
    """A leaderboard in this process with a clock that can be moved."""
    clock = MovableClock()
    with serve(create_app(settings, clock=clock)) as url:
        yield from open_scene(settings.url, url, tokens, hub, nursery, made, stocked, tmp_path, clock)


def open_scene(
    database_url: str,
    api_url: str,
    tokens: tuple[str, str],
    hub: RunningHub,
    nursery: Nursery,
    made: TinyEntry,
    stocked: Path,
    folder: Path,
    clock: MovableClock,
) -> Iterator[Scene]:
    """A scene around a leaderboard that is served at ``api_url``."""
    workplace = Workplace(Path(shutil.copytree(stocked, folder / "scorer")))
    outputs = folder / "faults"
    outputs.mkdir()
    with ExitStack() as stack:
        api, hub_proxy = (stack.enter_context(open_proxy(upstream)) for upstream in (api_url, hub.url))
        participant = stack.enter_context(LeaderboardClient(api.url, tokens[0]))
        try:
            yield Scene(
                database_url=database_url,
                api=api,
                hub=hub,
                hub_proxy=hub_proxy,
                participant=participant,
                scorer_token=tokens[1],
                clock=clock,
                workplace=workplace,
                nursery=nursery,
                folder=outputs,
                made=made,
                clients=stack,
            )
        finally:
            nursery.clear()


def _prepare(url: str) -> None:
    database = Database(url)
    migration.upgrade(database)
    with database.writing() as session:
        publish(session, tiny_competition(), utc_now())
    database.close()


def _execute(address: str, statement: str) -> None:
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        connection.execute(statement.encode())
