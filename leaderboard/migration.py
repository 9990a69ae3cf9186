"""Running migrations from the installed package: up, down, and whether the database is where the code needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

import migrations
from competition.errors import ServiceUnavailableError, UsageError
from leaderboard.database import Database
from leaderboard.models import Base

LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "60s"
# Any number that nothing else in this database locks.
_ADVISORY_LOCK = 0x64617461637570


def guard(connection: Connection) -> None:
    """One migration at a time, and none that stands in the site's way for long. SQLite's writer's lock does both."""
    if connection.dialect.name != "postgresql":
        return
    connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))


def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate up; at the head nothing happens. Makes SQLite's folder. Raises ``ServiceUnavailableError``."""
    if database.is_sqlite and database.url.database:
        Path(database.url.database).parent.mkdir(parents=True, exist_ok=True)
    with _connected(database) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Migrate down."""
    with _connected(database) as connection:
        command.downgrade(_config(connection), revision)


def differences(database: Database) -> list[object]:
    """What the tables lack or have beyond the models: empty when the migrations are complete (`alembic check`)."""
    with database.migrating() as connection:
        state = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(state, Base.metadata))


def require_head(database: Database) -> None:
    """Raises ``UsageError`` unless the database is at the newest migration; says which way it is off."""
    hint = "Run `datacup-leaderboard migrate`."
    if database.is_sqlite and not Path(database.url.database or "").is_file():
        raise UsageError(f"There is no database at {database.url.database}.", hint=hint)
    script = ScriptDirectory.from_config(_config(None))
    with _connected(database) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == script.get_current_head():
        return
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise UsageError("The database was migrated by a newer version of DataCup.", hint="Install that version.")
    raise UsageError("The database is not migrated to this version of DataCup.", hint=hint)


@contextmanager
def _connected(database: Database) -> Iterator[Connection]:
    try:
        with database.migrating() as connection:
            yield connection
    except DatabaseError as error:
        raise ServiceUnavailableError(
            f"The database {database.url.render_as_string(hide_password=True)} cannot be used: {error.orig}".strip(),
            hint="Check DATACUP_DATABASE_URL, and that nothing else holds the database.",
        ) from error


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
