"""``datacup``: the participant's command line."""

from __future__ import annotations

from typing import Annotated

import typer

from competition import __version__, command_line
from participant_kit.cli import evaluate, pool, quickstart, reshard, standings, status, submit, subset, train

app = typer.Typer(
    name="datacup",
    help="Build a subset of a pool, train the fixed recipe on it, evaluate it, and enter the competition.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
app.command("quickstart")(quickstart.command)
app.add_typer(pool.app, name="pool")
app.add_typer(subset.app, name="subset")
app.command("reshard")(reshard.command)
app.command("train")(train.command)
app.command("evaluate")(evaluate.command)
app.command("submit")(submit.command)
app.command("status")(status.command)
app.command("standings")(standings.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"datacup {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the ``datacup`` command."""
    command_line.run(app, extra="kit")
