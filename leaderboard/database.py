"""The database: SQLite in one file (WAL, one writer at a time) or PostgreSQL, behind two kinds of transaction.

``reading`` sees one consistent snapshot and never waits for a writer; ``writing`` commits when its block ends well and
rolls back otherwise. Nothing else commits.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from competition.errors import UsageError

SQLITE_BUSY_MS = 30_000
_SURELY_ALIVE_S = 1.0
# As many connections as the web server has threads: a request that waits for one would keep a thread from the others.
# Parameters hold nonces and digests of tokens: they stay out of error messages.
_POOL: dict[str, Any] = {"pool_size": 10, "max_overflow": 40, "hide_parameters": True}


class Database:
    """An engine with its two kinds of session. Raises ``UsageError`` for an address that is neither of the two."""

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
        self.engine = _sqlite(self.url) if self.is_sqlite else _postgresql(self.url)
        self._writers = sessionmaker(self.engine.execution_options(datacup_writer=True), expire_on_commit=False)
        self._readers = sessionmaker(self._reader_engine(), expire_on_commit=False)
        self._closed = False
        event.listen(self.engine, "checkin", self._given_back)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite rather than PostgreSQL."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that may change rows. On SQLite it takes the writer's lock with its first statement."""
        with self._writers() as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that sees one snapshot."""
        with self._readers() as session, session.begin():
            yield session

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A connection in a transaction that may change tables; it commits when the block ends well.

        SQLite changes a table by copying it, and dropping the old one must not count as taking away what other tables
        refer to: references are looked at once, before the end.
        """
        with self.engine.execution_options(datacup_writer=True).connect() as connection:
            if not self.is_sqlite:
                with connection.begin():
                    yield connection
                return
            # This pragma does nothing inside a transaction.
            pragma = connection.connection.cursor()
            pragma.execute("PRAGMA foreign_keys=OFF")
            try:
                with connection.begin():
                    yield connection
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                    if broken:
                        raise sqlite3.IntegrityError(f"a row of table {broken[0][0]} refers to one that is gone")
            finally:
                pragma.execute("PRAGMA foreign_keys=ON")

    def close(self) -> None:
        """Close all connections, of requests that are still being answered, too, once they are given back."""
        self._closed = True
        self.engine.dispose()

    def _given_back(self, _connection: object, record: ConnectionPoolEntry) -> None:
        # Nobody would take it out of a pool that is closed.
        if self._closed and record.dbapi_connection is not None:
            record.invalidate()

    def _reader_engine(self) -> Engine:
        if self.is_sqlite:
            return self.engine
        return self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError("The database's address cannot be read.", hint=_ADDRESS_HINT) from error
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed
    raise UsageError(f"A database of kind {parsed.drivername!r} is not supported.", hint=_ADDRESS_HINT)


_ADDRESS_HINT = "Set DATACUP_DATABASE_URL to sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."


def _postgresql(url: URL) -> Engine:
    engine = create_engine(url, **_POOL)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _ask_if_idle)
    return engine


def _note_use(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _ask_if_idle(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Replace a connection that a restarted server has forgotten. Asking costs as much as a query: not every time."""
    if time.monotonic() - record.info.get("used_at", math.inf) < _SURELY_ALIVE_S:
        return
    try:
        connection.autocommit = True
        connection.execute("")
        connection.autocommit = False
    except psycopg.OperationalError as error:
        raise DisconnectionError from error  # the pool opens another one


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, **_POOL)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not open transactions by itself: BEGIN IMMEDIATE is what makes claims safe.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", f"busy_timeout={SQLITE_BUSY_MS}", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writer = connection.get_execution_options().get("datacup_writer", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")
