"""Migrations are complete, can be taken back, run one at a time, and say when they have not been run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Text, inspect, text
from sqlalchemy.exc import IntegrityError, StatementError

from competition.errors import ConflictError, ServiceUnavailableError, UsageError
from competition.rules import find_competition
from leaderboard import migration
from leaderboard.competitions import service as competitions
from leaderboard.database import Database
from leaderboard.models import Account, Base
from tests.leaderboard.site import Site

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    database = Database(empty_url)
    yield database
    database.close()


def test_migrating_gives_exactly_the_tables_of_the_models(empty: Database) -> None:
    migration.upgrade(empty)
    assert migration.differences(empty) == []
    migration.upgrade(empty)
    migration.require_head(empty)


def test_every_migration_can_be_taken_back_and_run_again(empty: Database) -> None:
    migration.upgrade(empty)
    migration.downgrade(empty, "-1")
    migration.upgrade(empty)
    assert migration.differences(empty) == []
    migration.downgrade(empty, "base")
    assert inspect(empty.engine).get_table_names() == ["alembic_version"]
    migration.upgrade(empty)
    assert migration.differences(empty) == []


def test_migrations_at_once_do_not_disturb_each_other(empty: Database, empty_url: str) -> None:
    command = [sys.executable, "-m", "leaderboard.cli", "migrate"]
    environment = os.environ | {"DATACUP_DATABASE_URL": empty_url}
    racers = [subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [(racer.communicate(timeout=60)[1], racer.returncode) for racer in racers]
    assert [code for _, code in ends] == [0, 0, 0], ends
    assert migration.differences(empty) == []


def test_the_check_of_differences_can_fail(empty: Database) -> None:
    migration.upgrade(empty)
    with empty.migrating() as connection:
        connection.execute(text("ALTER TABLE accounts ADD COLUMN extra TEXT"))
    assert len(migration.differences(empty)) == 1


def test_a_database_that_is_not_migrated_is_refused_in_one_sentence(empty: Database) -> None:
    with pytest.raises(UsageError) as refused:
        migration.require_head(empty)
    assert "datacup-leaderboard migrate" in refused.value.hint
    migration.upgrade(empty)
    with empty.migrating() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match="newer version"):
        migration.require_head(empty)


def test_a_database_that_is_away_or_of_another_kind_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailableError, match="cannot be used") as refused:
        migration.require_head(Database("postgresql://nobody:secret@127.0.0.1:1/none"))
    assert "secret" not in refused.value.message
    for url in ("mysql://x/y", "nonsense", "sqlite://", "sqlite:///:memory:"):
        with pytest.raises(UsageError, match="database"):
            Database(url)
    broken = tmp_path / "file.db"
    broken.write_bytes(b"this is not a database" * 100)
    with pytest.raises(ServiceUnavailableError, match="cannot be used"):
        migration.require_head(Database(f"sqlite:///{broken}"))


def test_a_connection_that_is_in_use_when_the_database_is_closed_is_closed_when_it_comes_back(empty: Database) -> None:
    migration.upgrade(empty)
    with empty.reading() as session:
        connection = session.connection().connection.dbapi_connection
        empty.close()
        assert session.execute(text("SELECT 1")).scalar() == 1
    with pytest.raises(Exception, match="closed"):
        connection.execute("SELECT 1")


def test_every_constraint_has_a_name() -> None:
    for table in Base.metadata.tables.values():
        assert all(constraint.name for constraint in table.constraints)


def test_times_come_back_aware_in_utc_and_naive_ones_are_refused(site: Site) -> None:
    away = datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=5)))
    with site.database.writing() as session:
        session.add(Account(name="traveller", created_at=away))
    with site.database.reading() as session:
        found = session.query(Account).filter_by(name="traveller").one().created_at
    assert (found, found.tzinfo) == (away, UTC)
    with pytest.raises(StatementError, match="naive"), site.database.writing() as session:
        session.add(Account(name="lost", created_at=datetime(2026, 1, 1)))  # noqa: DTZ001 (what is refused)


def test_the_database_itself_refuses_what_must_never_be(site: Site) -> None:
    submission = site.enter()
    second_job = (
        "INSERT INTO jobs (submission_id, kind, state, attempt, failures, available_at, created_at) "
        f"VALUES ('{submission}', 'intake', 'ready', 0, 0, '2026-01-01', '2026-01-01')"
    )
    nonsense, nobody = "UPDATE submissions SET processing = 'nonsense'", "UPDATE submissions SET account_id = 999"
    for statement in (nonsense, second_job, nobody):
        with pytest.raises(IntegrityError), site.database.writing() as session:
            session.execute(text(statement))


def test_a_published_version_never_changes(site: Site) -> None:
    rules = find_competition("digits")
    with site.database.writing() as session:
        assert competitions.publish(session, rules, site.clock()) is False
        with pytest.raises(ConflictError, match="another content"):
            competitions.publish(session, rules.model_copy(update={"title": "x"}), site.clock())
        assert competitions.publish(session, rules.model_copy(update={"version": 3}), site.clock()) is True
        with pytest.raises(ConflictError, match="version 3"):
            competitions.publish(session, rules.model_copy(update={"version": 2}), site.clock())


def test_text_columns_hold_what_records_allow() -> None:
    """PostgreSQL enforces lengths that SQLite ignores: prose and names are unbounded text in both."""
    assert isinstance(Base.metadata.tables["submissions"].c.method_name.type, Text)
