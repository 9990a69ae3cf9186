"""How Alembic reaches the database: through a connection that ``leaderboard.migration`` hands over, else by settings.

A migration never waits long for a lock that the running site holds, and only one runs at a time.
"""

from __future__ import annotations

from typing import Literal

from alembic import context
from sqlalchemy import Connection

from leaderboard.columns import UtcDateTime
from leaderboard.database import Database
from leaderboard.migration import guard
from leaderboard.models import Base
from leaderboard.settings import read_settings


def _render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Migrations are history: they name plain types, not classes of ours that may change."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def _run(connection: Connection) -> None:
    guard(connection)
    sqlite = connection.dialect.name == "sqlite"
    # SQLite changes tables inside our BEGIN IMMEDIATE like PostgreSQL does, and alters them by copying.
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=sqlite,
        transactional_ddl=True,
        compare_type=True,
        render_item=_render_item,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    database = Database(read_settings().url)
    with database.migrating() as own:
        _run(own)
    database.close()
