"""An organiser's word on submissions."""

from __future__ import annotations

from typing import Annotated

import typer

from competition.records.lifecycle import Eligibility
from leaderboard.cli.database import opened
from leaderboard.clock import utc_now
from leaderboard.settings import read_settings

app = typer.Typer(help="An organiser's word on submissions.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command()
def mark(
    submission_id: Annotated[str, typer.Argument(metavar="ID", help="The submission.")],
    eligibility: Annotated[
        Eligibility, typer.Argument(metavar="ELIGIBILITY", help="Whether it is ranked, and if not, why.")
    ],
    reason: Annotated[str, typer.Option(help="One sentence; everybody can read it.")],
    organiser: Annotated[str, typer.Option(help="Name under which this is logged.")] = "organiser",
) -> None:
    """Mark an entry as a baseline, flagged, disqualified, or eligible again."""
    from leaderboard.accounts.viewer import Act
    from leaderboard.submissions import service

    with opened(read_settings()) as database, database.writing() as session:
        service.mark(session, submission_id, eligibility, reason, Act(organiser, utc_now()))
    typer.echo(f"Submission {submission_id} is {eligibility.value}.", err=True)
