"""``datacup-scorer doctor``: is this machine ready?"""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from scorer.settings import ScorerSettings


def command(
    competition: Annotated[
        list[str] | None,
        typer.Option(
            "--competition", help="A competition whose evaluation sets must be here, by id or file; may be repeated."
        ),
    ] = None,
    digests: Annotated[
        bool, typer.Option("--digests", help="Compare every file of the evaluation sets with its lock file.")
    ] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not ask for isolation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every finding as one line of JSON on stdout.")] = False,
) -> None:
    """Check isolation, GPU, memory, disks, evaluation sets, leaderboard, token and Hub.

    One line a finding: ok, warn or fail, with what to do. Exits with status 1 when one fails.
    """
    from scorer.doctor import Level, examine

    failed = 0
    settings = ScorerSettings.read()
    for found in examine(settings, tuple(competition or ()), digests=digests, insecure=insecure):
        failed += found.level is Level.FAIL
        if as_json:
            typer.echo(json.dumps(dataclasses.asdict(found)))
        else:
            typer.echo(f"{found.level.value:<4}  {found.check}: {found.message}")
            if found.advice:
                typer.echo(f"      {found.advice}")
    if failed:
        raise typer.Exit(1)
