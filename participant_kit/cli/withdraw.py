"""``datacup withdraw``: take an entry back, for good."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from pydantic import ValidationError

from competition.client import LeaderboardClient
from competition.errors import UsageError
from competition.records.lifecycle import Visibility
from competition.records.submission import SubmissionView, SubmissionWithdrawal
from participant_kit.cli import status
from participant_kit.cli.console import Console, JsonOption
from participant_kit.settings import KitSettings


def command(
    submission_id: Annotated[str, typer.Argument(help="Id that `datacup submit` printed.", metavar="ID")],
    reason: Annotated[
        str, typer.Option("--reason", help="Why; you and the organisers can read it, the public cannot.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take an entry back, for good.

    It leaves the standings, and work on it stops. Everybody still sees that your account had an entry here and when it
    was withdrawn, and the attempt counts. Repeating the command changes nothing.
    """
    console = Console(as_json=as_json)
    settings = KitSettings()
    endpoint, token = settings.require_endpoint(), settings.require_token()
    _check_reason(reason)
    with LeaderboardClient(endpoint, token) as client:
        view = client.submission(submission_id)
        if view.visibility is Visibility.WITHDRAWN:
            console.note(f"{view.id} was withdrawn before; nothing is changed.")
        else:
            if not yes:
                _confirm(console, view)
            view = client.withdraw(submission_id, reason)
    status.show(console, view, endpoint)


def _check_reason(reason: str) -> None:
    try:
        SubmissionWithdrawal(reason=reason)
    except ValidationError as error:
        hint = "Give at most 1,000 characters, none of them control characters."
        raise UsageError(f"--reason cannot be used: {error.errors()[0]['msg']}.", hint=hint) from error


def _confirm(console: Console, view: SubmissionView) -> None:
    """Ask the person at the terminal; raises ``UsageError`` where there is none."""
    if not sys.stdin.isatty():
        raise UsageError(
            f"{view.id} was not withdrawn: there is no terminal to ask at.",
            hint=f"A withdrawal is for good. If you are sure: datacup withdraw {view.id} --yes",
        )
    console.note(f"{view.id}: {view.method_name} ({view.author}), {status.state(view)}")
    if not typer.confirm("Withdraw it? It never comes back", default=False, err=True):
        console.note("Nothing was changed.")
        raise typer.Exit(1)
