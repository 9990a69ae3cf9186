"""``datacup standings``: the leaderboard's table in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from competition.client import LeaderboardClient
from competition.records.standings import StandingsRow, StandingsView
from competition.records.submission import Score, value_text
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import ScaleOption, TrackOption
from participant_kit.settings import KitSettings


def command(
    competition: Annotated[str, typer.Argument(help="Id of the competition.", metavar="COMPETITION")] = "digits",
    track: TrackOption = "filtering",
    scale: ScaleOption = "nano",
    as_json: JsonOption = False,
) -> None:
    """Show the verified standings.

    A score has its 95 % interval where one is known, and its rank the range that the data cannot tell apart.
    """
    settings = KitSettings()
    with LeaderboardClient(settings.require_endpoint()) as client:
        show(Console(as_json=as_json), client.standings(competition, track=track, scale=scale))


def show(console: Console, view: StandingsView) -> None:
    """Print standings as a table (or JSON)."""
    columns = ["entry", "rank", "rank range", view.aggregate, *(task.title for task in view.tasks), "samples"]
    title = f"{view.competition} / {view.track} / {view.scale}, suite {view.suite}: value [95 % interval]"
    if view.less_is_better:
        title += ", less is better"
    console.table(view.model_dump(mode="json"), title, columns, [_row(row, view) for row in view.rows])


def _row(row: StandingsRow, view: StandingsView) -> list[str]:
    ranked = row.rank is not None
    return [
        f"{row.method_name} ({row.author})",
        str(row.rank) if ranked else row.eligibility.value,
        _range(row) if ranked else "",
        format_score(row.score),
        *(format_score(row.tasks.get(task.id)) for task in view.tasks),
        f"{row.subset_samples:,}" if row.subset_samples is not None else "",
    ]


def _range(row: StandingsRow) -> str:
    return "not known" if row.rank_low is None else f"{row.rank_low}-{row.rank_high}"


def format_score(score: Score | None) -> str:
    """A value, with its interval where one is known; a task without a result is unscored, never zero."""
    if score is None:
        return "unscored"
    interval = "" if score.interval is None else f" [{score.interval.low:.3f}, {score.interval.high:.3f}]"
    return f"{value_text(score.value)}{interval}"
