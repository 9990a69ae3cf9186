"""Databases and sites: every test that asks for ``site`` or ``database_url`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from leaderboard import migration
from leaderboard.database import Database
from tests.leaderboard import postgres
from tests.leaderboard.site import Site, open_site

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def postgres_address() -> Iterator[str]:
    """A running PostgreSQL server, with a migrated database ``template`` to copy."""
    programs = postgres.binaries()
    if programs is None:
        if "postgres" in os.environ.get("DATACUP_REQUIRE", ""):
            pytest.fail("PostgreSQL is required here and its programs are not installed")
        pytest.skip("PostgreSQL is not installed")
    with postgres.server(programs) as address:
        _execute(address, "CREATE DATABASE template")
        _migrate(f"{address}/template")
        yield address


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "leaderboard.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'leaderboard.db'}"
        return
    address = request.getfixturevalue("postgres_address")
    name = f"t{uuid.uuid4().hex}"
    _execute(address, f"CREATE DATABASE {name}")
    yield f"{address}/{name}"
    _execute(address, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a fresh, migrated database."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "leaderboard.db")
        yield f"sqlite:///{tmp_path / 'leaderboard.db'}"
        return
    address = request.getfixturevalue("postgres_address")
    name = f"t{uuid.uuid4().hex}"
    _execute(address, f"CREATE DATABASE {name} TEMPLATE template")
    yield f"{address}/{name}"
    _execute(address, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    """A leaderboard with one competition, some accounts and a clock that the test moves."""
    with open_site(database_url) as opened:
        yield opened


@pytest.fixture
def sqlite_site(sqlite_template: Path, tmp_path: Path) -> Iterator[Site]:
    """The same on SQLite only, for what has nothing to do with the database."""
    path = tmp_path / "only.db"
    shutil.copy(sqlite_template, path)
    with open_site(f"sqlite:///{path}") as opened:
        yield opened


def _migrate(url: str) -> None:
    database = Database(url)
    migration.upgrade(database)
    database.close()


def _execute(address: str, statement: str) -> None:
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        connection.execute(statement.encode())
