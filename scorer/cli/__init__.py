"""``datacup-scorer``: the command line of the machines that verify and score entries."""

from __future__ import annotations

from typing import Annotated

import typer

from competition import __version__, command_line
from scorer.cli import run, verify

app = typer.Typer(
    name="datacup-scorer",
    help="Fetch, verify and score the entries of a DataCup leaderboard.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
app.command("run")(run.command)
app.command("verify")(verify.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"datacup-scorer {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the ``datacup-scorer`` command."""
    command_line.run(app, extra="scorer")
