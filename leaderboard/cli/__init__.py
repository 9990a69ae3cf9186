"""``datacup-leaderboard``: the operator's command line."""

from __future__ import annotations

import typer

from competition import command_line
from leaderboard.cli import competitions, database, serving, submissions, tokens

app = typer.Typer(
    name="datacup-leaderboard",
    help="Run a leaderboard: its database, its site and API, the local Hub, and the tokens of those who use them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
app.command("migrate")(database.migrate)
app.command("serve")(serving.serve)
app.command("hub")(serving.hub)
app.add_typer(tokens.app, name="token")
app.add_typer(competitions.app, name="competition")
app.add_typer(submissions.app, name="submission")


@app.callback()
def _global_options(_version: command_line.VersionOption = False) -> None:
    pass


def main() -> None:
    """Entry point of the ``datacup-leaderboard`` command."""
    command_line.run(app, extra="leaderboard")
