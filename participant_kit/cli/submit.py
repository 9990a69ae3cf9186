"""``datacup submit``: enter a finished run, or predictions."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from competition.client import LeaderboardClient
from competition.rules import Competition, EntryKind, find_competition
from participant_kit.cli import status
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.entry_options import (
    AuthorOption,
    DescriptionOption,
    ExternalOption,
    LineageOption,
    MethodOption,
    Parts,
    PoolOption,
    PredictionsOption,
    RepoOption,
    SamplesOption,
    Words,
    chosen_entry,
)
from participant_kit.cli.options import CompetitionOption, RunOption, ScaleOption, TrackOption
from participant_kit.settings import KitSettings


def command(
    track: TrackOption,
    method_name: MethodOption,
    author: AuthorOption,
    repo: RepoOption,
    run_dir: RunOption = None,
    samples: SamplesOption = None,
    external_data: ExternalOption = None,
    predictions: PredictionsOption = None,
    description: DescriptionOption = "",
    metadata_dir: PoolOption = None,
    lineage: LineageOption = None,
    scale: ScaleOption = "nano",
    competition: CompetitionOption = "digits",
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow it to its end; the exit code is 0 if it was scored.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a finished run or predictions, upload and enter them.

    A run needs --train-output-dir and --samples (or --external-data), predictions need --predictions: the track says
    which. They are checked as the scorer will, like `datacup check` does; whether every uid is of the pool, only with
    --metadata-dir. An interrupted submission is finished by the same command. Needs DATACUP_ENDPOINT, DATACUP_TOKEN
    and a Hub login (`hf auth login`); your Hub token never reaches the leaderboard.
    """
    console = Console(as_json=as_json)
    settings = KitSettings()
    endpoint, token = settings.require_endpoint(), settings.require_token()
    words = Words(find_competition(competition), track, scale, method_name, author, description)
    entry = chosen_entry(words, Parts(run_dir, samples, external_data, predictions, metadata_dir, lineage))

    from participant_kit.entering import enter
    from participant_kit.hub import resolve_repo

    with LeaderboardClient(endpoint, token) as client:
        view = enter(entry, client, resolve_repo(settings.hub_endpoint, repo), console.note)
        if wait:
            view = status.follow(client, view.id, console)
    status.show(console, view, endpoint)
    status.suggest(console, view)
    if wait:
        status.leave(view)


def suggestion_of_predictions(competition: Competition, predictions: Path, file: str | None = None) -> str | None:
    """The command that enters a file of predictions; None where the competition takes none.

    ``file`` is that of a competition that is not built in.
    """
    track = next((track.id for track in competition.tracks if track.entry is EntryKind.PREDICTIONS), None)
    if track is None:
        return None
    return (
        f"datacup submit --competition {shlex.quote(file or competition.id)} --track {track} "
        f"--scale {competition.scales[0].id} --predictions {shlex.quote(str(predictions))} "
        "--method-name NAME --author YOU --hf-repo-name REPO"
    )


def suggestion(
    competition: Competition,
    recipe: str,
    run_dir: Path,
    samples: str = "SUBSET.npy",
    file: str | None = None,
    pool: Path | None = None,
    lineage: Path | None = None,
) -> str:
    """The command that enters a run of ``recipe``, with the words that only its author knows left in capitals.

    ``file`` is that of a competition that is not built in, ``pool`` the pool's folder, ``lineage`` says
    how the subset was made.
    """
    scale = next((scale.id for scale in competition.scales if scale.recipe == recipe), "SCALE")
    metadata = f"{shlex.quote(str(pool))}/metadata" if pool else "POOL/metadata"
    rules = "" if file is None else f"--competition {shlex.quote(file)} "
    made = "" if lineage is None else f"--lineage {shlex.quote(str(lineage))} "
    return (
        f"datacup submit {rules}--track {competition.tracks[0].id} --scale {scale} "
        f"--train-output-dir {shlex.quote(str(run_dir))} --samples {samples} --metadata-dir {metadata} "
        f"{made}--method-name NAME --author YOU --hf-repo-name REPO"
    )
