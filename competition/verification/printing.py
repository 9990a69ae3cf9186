"""How command lines print what checking an entry came to: the participant's and the scorer's alike."""

from __future__ import annotations

import typer

from competition.errors import RejectionError
from competition.verification.report import CheckReport


def print_report(report: CheckReport, *, as_json: bool) -> None:
    """Print what the checks of an entry came to: what each found, and what none of them looks at.

    Where one refused the entry this raises ``RejectionError``; with JSON, whose document tells of it, it only exits
    with that status.
    """
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
        if report.failed is not None:
            typer.echo(f"Error: {report.failed.message}\n{report.failed.hint}", err=True)
            raise typer.Exit(RejectionError.exit_code)
        return
    lines = report.lines()
    width = max(map(len, lines))
    for name, words in lines.items():
        typer.echo(f"{name:<{width}}  {words}")
    report.require_valid()
    for each in report.unchecked:
        typer.echo(f"Not checked here: {each}.", err=True)
    typer.echo("Valid, as far as this machine can tell.", err=True)
