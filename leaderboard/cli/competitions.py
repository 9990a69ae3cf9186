"""Publishing competitions."""

from __future__ import annotations

from typing import Annotated

import typer

from leaderboard.cli.database import opened
from leaderboard.clock import utc_now
from leaderboard.settings import read_settings

app = typer.Typer(help="The competitions of this leaderboard.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command()
def publish(
    competition: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A built-in competition, or a YAML file.")],
) -> None:
    """Publish a competition, or a new version of one. Publishing the same again changes nothing."""
    from competition.rules import find_competition
    from leaderboard.competitions import service

    rules = find_competition(competition)
    with opened(read_settings()) as database, database.writing() as session:
        new = service.publish(session, rules, utc_now())
    state = "is published" if new else "was published before; nothing changed"
    typer.echo(f"Competition {rules.id}, version {rules.version}, {state}.", err=True)
