"""``datacup status``: where an entry stands, what it scored, or why it was refused; without an id, all of one's own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from competition import story
from competition.client import LeaderboardClient
from competition.errors import RejectionError, ServiceUnavailableError, UsageError
from competition.printable import printable
from competition.records.lifecycle import Processing, Visibility
from competition.records.submission import SubmissionPage, SubmissionView
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.standings import format_score
from participant_kit.settings import KitSettings

_SHORTEST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 5.0
AWAY_S = 900.0
"""How long a leaderboard that was there may be away before waiting for it is given up."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
_NEWEST = 50
EXIT_CODES = {
    Processing.SCORED: 0,
    Processing.INVALID: RejectionError.exit_code,
    Processing.FAILED: ServiceUnavailableError.exit_code,
}
"""Of waiting, by how the entry ended; 1 for every other end."""


def command(
    submission_id: Annotated[
        str | None, typer.Argument(help="Id that `datacup submit` printed; without one, all of yours.", metavar="ID")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--train-output-dir", help="Show the newest submission of this run instead.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the entry until it is scored or refused.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show where an entry stands, or list your entries.

    That is its verified results so far, or the reason of its refusal and what to do about it. Without an id, your
    entries are listed, newest first (needs DATACUP_TOKEN). With --wait the exit code is 0 only for a scored entry.
    """
    console = Console(as_json=as_json)
    settings = KitSettings()
    endpoint = settings.require_endpoint()
    chosen = submission_id or (_newest(run_dir) if run_dir is not None else None)
    if chosen is None and wait:
        raise UsageError("--wait needs a submission.", hint="Give its id, or --train-output-dir of its run.")
    if chosen is None:
        settings.require_token()
    with LeaderboardClient(endpoint, settings.token) as client:
        if chosen is None:
            _show_own(console, client.submissions(account=client.account(), limit=_NEWEST))
            return
        view = follow(client, chosen, console) if wait else client.submission(chosen)
    show(console, view, endpoint)
    suggest(console, view)
    if wait:
        leave(view)


def follow(
    client: LeaderboardClient, submission_id: str, console: Console, *, pause: float = _SHORTEST_PAUSE_S
) -> SubmissionView:
    """Wait until the entry reaches a terminal state, noting each change.

    A leaderboard that is away for a while, as when it is started anew, is waited for. Ctrl-C ends the waiting and
    nothing else.
    """
    try:
        return _follow(client, submission_id, console, pause)
    except KeyboardInterrupt:
        console.note(f"\nNo longer waiting. The entry goes on by itself: datacup status {submission_id} --wait")
        raise typer.Exit(INTERRUPTED) from None


def leave(view: SubmissionView) -> None:
    """End the command with the exit code of how the entry ended, 0 only where it was scored."""
    code = EXIT_CODES.get(view.processing, 1)
    if code:
        raise typer.Exit(code)


def _follow(client: LeaderboardClient, submission_id: str, console: Console, pause: float) -> SubmissionView:
    seen: tuple[Processing, str | None] | None = None
    wait, heard = pause, time.monotonic()
    while True:
        try:
            view = client.submission(submission_id)
        except ServiceUnavailableError as error:
            # At first it may be a wrong address; later it is a leaderboard that comes back.
            if seen is None or time.monotonic() - heard > AWAY_S:
                raise
            console.note(f"{error.message} Still waiting.")
        else:
            heard = time.monotonic()
            wait = min(wait * 1.25, max(pause, _LONGEST_PAUSE_S))
            if (view.processing, view.stage) != seen:
                seen, wait = (view.processing, view.stage), pause
                console.note(f"{view.id}: {view.processing.value}{f' ({view.stage})' if view.stage else ''}")
            if view.processing.terminal:
                return view
        time.sleep(wait)


def show(console: Console, view: SubmissionView, endpoint: str) -> None:
    """Print one submission (or its JSON)."""
    shown: dict[str, object] = {"submission": view.id}
    if view.method_name:
        shown["method"] = f"{view.method_name} ({view.author})"
    shown["entered"] = f"{view.competition} / {view.track} / {view.scale}"
    shown["state"] = state(view)
    if view.withdrawal is not None and view.withdrawal.reason:
        shown["withdrawn because"] = in_a_line(view.withdrawal.reason)
    if view.tasks_total:
        shown["tasks"] = f"{len(view.results)} of {view.tasks_total} scored"
    shown |= {f"  {result.title}": format_score(result.score) for result in view.results}
    if view.rejection is not None:
        shown |= {"refused because": in_a_line(view.rejection.message), "what to do": view.rejection.hint}
    if view.failure is not None:
        shown["failure"] = f"{in_a_line(view.failure)} (the platform's fault; nothing is charged)"
        shown["what to do"] = "Nothing: the organisers see it, and take it up again from there. Ask them if it lasts."
    for number, found in enumerate(view.notices, start=1):
        shown["worth knowing" if number == 1 else f"worth knowing ({number})"] = story.notice(found)
    shown["page"] = f"{endpoint.rstrip('/')}/submissions/{view.id}"
    console.pairs(view.model_dump(mode="json"), shown)


def state(view: SubmissionView) -> str:
    """Where an entry stands, in a word or two."""
    processing = view.processing.value + (f" ({view.stage})" if view.stage else "")
    if view.visibility is not Visibility.WITHDRAWN:
        return processing
    taken_back = "withdrawn" if view.withdrawal is None else story.withdrawn(view.withdrawal)
    return f"{processing}, {taken_back}" if view.processing is Processing.SCORED else taken_back


def suggest(console: Console, view: SubmissionView) -> None:
    """Say what to do next with a submission; a refused one says it itself."""
    if view.visibility is Visibility.WITHDRAWN:
        return
    if view.processing is Processing.SCORED:
        console.next_step(f"datacup standings {view.competition} --track {view.track} --scale {view.scale}")
    elif not view.processing.terminal:
        console.next_step(f"datacup status {view.id} --wait")


def _show_own(console: Console, page: SubmissionPage) -> None:
    rows = [
        [view.id, view.method_name, f"{view.competition} / {view.track} / {view.scale}", state(view), _day(view)]
        for view in page.items
    ]
    columns = ["submission", "method", "entered in", "state", "on"]
    console.table(page.model_dump(mode="json"), "Your entries, newest first", columns, rows)
    if page.next_cursor is not None:
        console.note(f"Only the newest {len(page.items)} are shown; the leaderboard's API has all of them.")
    if page.items:
        console.next_step(f"datacup status {page.items[0].id}")
    else:
        console.note("You have entered nothing yet.")


def _day(view: SubmissionView) -> str:
    return f"{view.created_at:%Y-%m-%d}"


def in_a_line(text: str) -> str:
    """A message as one line that does nothing to a terminal."""
    return printable(text.replace("\n", " "))


def _newest(run_dir: Path) -> str:
    folders = sorted((run_dir / "submissions").glob("*/submission.json"), key=lambda path: path.stat().st_mtime)
    if not folders:
        raise UsageError(f"Nothing was submitted from {run_dir}.", hint="Run `datacup submit` first.")
    return folders[-1].parent.name
