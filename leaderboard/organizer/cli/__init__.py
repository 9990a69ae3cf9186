"""``datacup-organizer``: the organiser's command line. It talks to a leaderboard's API, so it runs anywhere."""

from __future__ import annotations

import typer

from competition import command_line
from leaderboard.organizer.cli import references

app = typer.Typer(
    name="datacup-organizer",
    help="Organise competitions on a leaderboard (DATACUP_ENDPOINT), with a token of scope admin (DATACUP_TOKEN).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
app.command("import-results")(references.import_results)
app.command("remove-results")(references.remove_results)


@app.callback()
def _global_options(_version: command_line.VersionOption = False) -> None:
    pass


def main() -> None:
    """Entry point of the ``datacup-organizer`` command."""
    command_line.run(app, extra="leaderboard")
