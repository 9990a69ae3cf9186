"""``datacup quota``: how many entries are left."""

from __future__ import annotations

from typing import Annotated

import typer

from competition.client import LeaderboardClient
from competition.records.submission import Allowance
from participant_kit.cli.console import Console, JsonOption
from participant_kit.settings import KitSettings


def command(
    competition: Annotated[str, typer.Argument(help="Id of the competition.", metavar="COMPETITION")] = "digits",
    as_json: JsonOption = False,
) -> None:
    """Show how many entries your account may still have.

    An entry counts from when it is received, and no longer when it ends invalid, failed or cancelled. Needs
    DATACUP_ENDPOINT and DATACUP_TOKEN.
    """
    settings = KitSettings()
    with LeaderboardClient(settings.require_endpoint(), settings.require_token()) as client:
        view = client.quota(competition)
    until = f"until {view.phase_closes:%Y-%m-%d %H:%M:%S} UTC" if view.phase_closes else "without an end"
    title = f"{view.competition}, phase {view.phase} ({until}): entries of {view.account}"
    bounds = {
        f"today, until {view.resets_at:%Y-%m-%d %H:%M:%S} UTC": view.today,
        "in the phase": view.phase_total,
        "invalid today": view.invalid_today,
    }
    rows = [[name, *_row(bound)] for name, bound in bounds.items()]
    Console(as_json=as_json).table(view.model_dump(mode="json"), title, ["", "entered", "allowed", "left"], rows)


def _row(bound: Allowance) -> list[str]:
    return [str(bound.used), *("no limit" if value is None else str(value) for value in (bound.limit, bound.left))]
