"""``datacup submit``: enter a finished run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from competition.client import LeaderboardClient
from competition.rules import Competition, find_competition, find_scale, find_track
from participant_kit.cli import status
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import CompetitionOption, RunOption, ScaleOption, TrackOption
from participant_kit.settings import KitSettings


def command(
    track: TrackOption,
    run_dir: RunOption,
    samples: Annotated[str, typer.Option("--samples", help="The subset that was trained on: FILE.npy[::FILE.npy].")],
    method_name: Annotated[str, typer.Option("--method-name", help="How the method is called on the leaderboard.")],
    author: Annotated[str, typer.Option("--author", help="Who made it.")],
    repo: Annotated[str, typer.Option("--hf-repo-name", help="Model repository on the Hub: NAME or USER/NAME.")],
    description: Annotated[str, typer.Option("--description", help="What was done, in a few sentences.")] = "",
    metadata_dir: Annotated[
        Path | None,
        typer.Option("--metadata-dir", help="The pool's metadata folder, to check that the subset is of this pool."),
    ] = None,
    lineage: Annotated[
        Path | None,
        typer.Option("--lineage", help="The dataset.json of `datacup build`: how the subset was made, for all to see."),
    ] = None,
    scale: ScaleOption = "nano",
    competition: CompetitionOption = "digits",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the entry until it is scored or refused.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a finished run, upload it to the Hub and enter it.

    It is checked as the scorer will; whether every uid is of the pool, only with --metadata-dir. An interrupted
    submission is finished by the same command. Needs DATACUP_ENDPOINT, DATACUP_TOKEN and a Hub login (`hf auth
    login`); your Hub token never reaches the leaderboard.
    """
    console = Console(as_json=as_json)
    settings = KitSettings()
    endpoint, token = settings.require_endpoint(), settings.require_token()
    rules = find_competition(competition)
    chosen_track, chosen_scale = find_track(rules, track), find_scale(rules, scale)

    from participant_kit.hub import resolve_repo
    from participant_kit.submission import Entry, merge_subsets, submit

    entry = Entry(
        competition=rules,
        track=chosen_track,
        scale=chosen_scale,
        run_dir=run_dir,
        subset=merge_subsets(samples, run_dir / "merged_subset.npy"),
        method_name=method_name,
        author=author,
        description=description,
        metadata_dir=metadata_dir,
        lineage=lineage,
    )
    with LeaderboardClient(endpoint, token) as client:
        view = submit(entry, client, resolve_repo(settings.hub_endpoint, repo), console.note)
        if wait:
            view = status.follow(client, view.id, console)
    status.show(console, view, endpoint)
    status.suggest(console, view)


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
