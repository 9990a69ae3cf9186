"""``datacup logs``: everything that happened to an entry, and whether the record of it is whole."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC
from typing import Annotated

import typer

from competition import story
from competition.client import LeaderboardClient
from competition.errors import LogBrokenError, RejectionReason, ServiceUnavailableError
from competition.records.lifecycle import Event, Visibility, chain_is_intact
from competition.records.submission import SubmissionView
from participant_kit.cli.console import Console
from participant_kit.cli.standings import format_score
from participant_kit.cli.status import AWAY_S, INTERRUPTED, in_a_line
from participant_kit.settings import KitSettings

_PAUSE_S = 1.0
_INDENT = " " * 25


def command(
    submission_id: Annotated[str, typer.Argument(help="Id that `datacup submit` printed.", metavar="ID")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on until nothing more will happen.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the events as JSON, one a line, on stdout.")] = False,
) -> None:
    """Show everything that happened to an entry.

    Each event carries the hash of the one before: the chain is verified, and an exit code other than 0 says that it is
    broken. What you may not see yet, as the results of hidden tests, is withheld; that something happened is not.
    """
    console = Console(as_json=as_json)
    settings = KitSettings()
    with LeaderboardClient(settings.require_endpoint(), settings.token) as client:
        try:
            events = _follow(client, submission_id, console) if follow else _print(client, submission_id, console, [])
        except KeyboardInterrupt:
            console.note(f"\nThe entry goes on by itself: datacup logs {submission_id} --follow")
            raise typer.Exit(INTERRUPTED) from None
    withheld = sum(event.withheld for event in events)
    aside = f"; {withheld} of them not shown in full, of which only the place was verified" if withheld else ""
    console.note(f"{len(events)} events, an unbroken chain{aside}. Head {events[-1].hash if events else 'none'}")


def _follow(client: LeaderboardClient, submission_id: str, console: Console) -> list[Event]:
    events = _print(client, submission_id, console, [])
    heard = time.monotonic()
    while not _ended(events):
        time.sleep(_PAUSE_S)
        try:
            events = _print(client, submission_id, console, events)
            heard = time.monotonic()
        except ServiceUnavailableError as error:
            if time.monotonic() - heard > AWAY_S:
                raise
            console.note(f"{error.message} Still waiting.")
    return events


def _print(client: LeaderboardClient, submission_id: str, console: Console, known: Sequence[Event]) -> list[Event]:
    """Print what is new since ``known``, and verify all of it (raises ``LogBrokenError``)."""
    events = client.events(submission_id)
    new = events[len(known) :]
    # What was shown before must still be there: a log that was written anew has a chain as well.
    if [event.hash for event in events[: len(known)]] != [event.hash for event in known]:
        raise _broken(submission_id)
    view = client.submission(submission_id) if new and not console.as_json else None
    for event in new:
        if view is None:
            typer.echo(json.dumps(event.model_dump(mode="json"), ensure_ascii=False))
        else:
            for line in lines(event, view):
                typer.echo(line)
    if not chain_is_intact(events) or {event.submission_id for event in events} - {submission_id}:
        raise _broken(submission_id)
    return events


def lines(event: Event, view: SubmissionView) -> list[str]:
    """An event for people: the time (UTC) and what happened; below it what to do, where there is something."""
    titles = {result.task: result.title for result in view.results}
    title, note = story.title(event, titles), story.note(event)
    if event.kind == "task_result":
        score = next((each.score for each in view.results if each.task == event.detail.get("task")), None)
        title += f", {format_score(score)}" if score is not None else ""
    at = event.at.astimezone(UTC)
    told = [f"{at:%Y-%m-%d %H:%M:%S} UTC  {in_a_line(title)}{f' ({in_a_line(note)})' if note else ''}"]
    reason = event.detail.get("reason")
    if event.after == "invalid" and reason in set(RejectionReason):
        told.append(f"{_INDENT}What to do: {RejectionReason(reason).hint}")
    return told


def _ended(events: Sequence[Event]) -> bool:
    """Whether nothing more follows by itself."""
    if any(event.kind == "visibility" and event.after == Visibility.WITHDRAWN for event in events):
        return True
    states = [state for event in events if (state := story.state(event.after)) is not None]
    return bool(states) and states[-1].terminal


def _broken(submission_id: str) -> LogBrokenError:
    return LogBrokenError(
        f"The hash chain of the log of {submission_id} is broken: it was changed after it was written.",
        hint="Do not rely on it. Keep what this command printed, and tell the organisers.",
    )
