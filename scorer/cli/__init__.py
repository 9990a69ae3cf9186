"""``datacup-scorer``: the command line of the machines that verify and score entries."""

from __future__ import annotations

import typer

from competition import command_line
from scorer.cli import audit, batch, doctor, evalsets, mirror, run, slurm, verify

app = typer.Typer(
    name="datacup-scorer",
    help="Fetch, verify and score the entries of a DataCup leaderboard.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
app.command("run")(run.command)
app.command("batch")(batch.command)
app.command("verify")(verify.command)
app.command("audit")(audit.command)
app.command("doctor")(doctor.command)
app.command("slurm")(slurm.command)
app.add_typer(evalsets.app, name="evalsets")
app.add_typer(mirror.app, name="mirror")


@app.callback()
def _global_options(_version: command_line.VersionOption = False) -> None:
    pass


def main() -> None:
    """Entry point of the ``datacup-scorer`` command."""
    command_line.run(app, extra="scorer")
