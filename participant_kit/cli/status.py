"""``datacup status``: where an entry stands, what it scored, or why it was refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from competition.client import LeaderboardClient
from competition.errors import UsageError
from competition.records.lifecycle import Processing
from competition.records.submission import SubmissionView
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.standings import format_score
from participant_kit.settings import KitSettings


def command(
    submission_id: Annotated[str | None, typer.Argument(help="Id that `datacup submit` printed.", metavar="ID")] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--train-output-dir", help="Show the newest submission of this run instead.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the entry until it is scored or refused.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show where an entry stands.

    That is its verified results so far, or the reason of its refusal and what to do about it.
    """
    console = Console(as_json=as_json)
    settings = KitSettings()
    chosen = submission_id or _newest(run_dir)
    with LeaderboardClient(settings.require_endpoint(), settings.token) as client:
        view = follow(client, chosen, console) if wait else client.submission(chosen)
    show(console, view, settings.require_endpoint())
    suggest(console, view)


def follow(client: LeaderboardClient, submission_id: str, console: Console, *, pause: float = 1.0) -> SubmissionView:
    """Wait until the entry reaches a terminal state, noting each change."""
    seen: tuple[Processing, str | None] | None = None
    while True:
        view = client.submission(submission_id)
        if (view.processing, view.stage) != seen:
            seen = (view.processing, view.stage)
            console.note(f"{view.id}: {view.processing.value}{f' ({view.stage})' if view.stage else ''}")
        if view.processing.terminal:
            return view
        time.sleep(pause)


def show(console: Console, view: SubmissionView, endpoint: str) -> None:
    """Print one submission (or its JSON)."""
    shown: dict[str, object] = {
        "submission": view.id,
        "method": f"{view.method_name} ({view.author})",
        "entered": f"{view.competition} / {view.track} / {view.scale}",
        "state": view.processing.value + (f" ({view.stage})" if view.stage else ""),
        "tasks": f"{len(view.results)} of {view.tasks_total} scored",
    }
    shown |= {f"  {result.title}": format_score(result.score) for result in view.results}
    if view.rejection is not None:
        shown |= {"refused because": view.rejection.message, "what to do": view.rejection.hint}
    if view.failure is not None:
        shown["failure"] = f"{view.failure} (the platform's fault; nothing is charged)"
        shown["what to do"] = "Nothing: the organisers see it, and take it up again from there. Ask them if it lasts."
    shown["page"] = f"{endpoint.rstrip('/')}/submissions/{view.id}"
    console.pairs(view.model_dump(mode="json"), shown)


def suggest(console: Console, view: SubmissionView) -> None:
    """Say what to do next with a submission; a refused one says it itself."""
    if view.processing is Processing.SCORED:
        console.next_step(f"datacup standings {view.competition} --track {view.track} --scale {view.scale}")
    elif not view.processing.terminal:
        console.next_step(f"datacup status {view.id} --wait")


def _newest(run_dir: Path | None) -> str:
    if run_dir is None:
        raise UsageError("Which submission?", hint="Give its id, or --train-output-dir of the run that was submitted.")
    folders = sorted((run_dir / "submissions").glob("*/submission.json"), key=lambda path: path.stat().st_mtime)
    if not folders:
        raise UsageError(f"Nothing was submitted from {run_dir}.", hint="Run `datacup submit` first.")
    return folders[-1].parent.name
