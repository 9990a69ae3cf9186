"""An organiser's word on submissions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from competition.errors import UsageError
from competition.records.base import Line, Prose
from competition.records.lifecycle import Eligibility
from leaderboard.cli.database import opened
from leaderboard.clock import utc_now
from leaderboard.settings import read_settings

if TYPE_CHECKING:
    from leaderboard.accounts.viewer import Act

OrganiserOption = Annotated[str, typer.Option(help="Name under which this is logged.")]

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
    organiser: OrganiserOption = "organiser",
) -> None:
    """Mark an entry as a baseline, flagged, disqualified, or eligible again."""
    from leaderboard.submissions import service

    act, sentence = _act(organiser), _fitting(Prose, "--reason", reason)
    with opened(read_settings()) as database, database.writing() as session:
        service.mark(session, submission_id, eligibility, sentence, act)
    typer.echo(f"Submission {submission_id} is {eligibility.value}.", err=True)


@app.command()
def requeue(
    submission_id: Annotated[str, typer.Argument(metavar="ID", help="The submission.")],
    organiser: OrganiserOption = "organiser",
) -> None:
    """Take up the work on an entry that was given up, once the platform's fault is mended. Finished tasks stay."""
    from leaderboard.scoring import queue

    act = _act(organiser)
    with opened(read_settings()) as database, database.writing() as session:
        kind = queue.requeue(session, submission_id, act)
    typer.echo(f"Submission {submission_id} waits for its {kind.value}.", err=True)


def _act(organiser: str) -> Act:
    from leaderboard.accounts.viewer import Act

    return Act(_fitting(Line, "--organiser", organiser), utc_now())


def _fitting(kind: Any, option: str, text: str) -> str:
    """The text, if records can hold it."""
    try:
        text.encode()
        return str(TypeAdapter(kind).validate_python(text))
    except (ValidationError, UnicodeEncodeError) as error:
        raise UsageError(
            f"The text of {option} does not fit.",
            hint="Give it without control characters, in UTF-8, and not longer than a sentence or two.",
        ) from error
