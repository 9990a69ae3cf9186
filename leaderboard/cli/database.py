"""Opening the database for a command, and migrating it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from leaderboard.settings import Settings, read_settings

if TYPE_CHECKING:
    from leaderboard.database import Database


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The settings' database, if it is migrated (raises ``UsageError`` when it is not)."""
    from leaderboard import migration
    from leaderboard.database import Database

    database = Database(settings.url)
    try:
        migration.require_head(database)
        yield database
    finally:
        database.close()


def migrate() -> None:
    """Create the database or bring it to this version, and publish the competitions of DATACUP_COMPETITIONS."""
    from leaderboard import migration
    from leaderboard.clock import utc_now
    from leaderboard.competitions import service
    from leaderboard.database import Database
    from leaderboard.references import shipped

    settings = read_settings()
    database = Database(settings.url)
    try:
        migration.upgrade(database)
        with database.writing() as session:
            published = service.publish_all(session, settings.competitions, utc_now())
            references = shipped.publish(session, settings.competitions, utc_now)
    finally:
        database.close()
    typer.echo(f"{database.url.render_as_string(hide_password=True)} is at this version.", err=True)
    for competition in published:
        typer.echo(f"Published competition {competition}.", err=True)
    for name in references:
        typer.echo(f"Imported reference results {name}.", err=True)
