"""``datacup submit``: enter a finished run, or predictions."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from competition.client import LeaderboardClient
from competition.errors import UsageError
from competition.records.submission import SubmissionView
from competition.rules import Competition, EntryKind, Scale, Track, find_competition, find_scale, find_track
from participant_kit.cli import status
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import CompetitionOption, RunOption, ScaleOption, TrackOption
from participant_kit.settings import KitSettings

_SamplesOption = Annotated[
    str | None, typer.Option("--samples", help="The subset that was trained on: FILE.npy[::FILE.npy].")
]
_PredictionsOption = Annotated[
    Path | None,
    typer.Option("--predictions", help="Instead of a run, on tracks that take it: the .npz of docs/entry-format.md."),
]
_ExternalOption = Annotated[
    str | None,
    typer.Option(
        "--external-data",
        help="On tracks for data of your own: folder of the shards (.tar) that were trained on too, or of tables "
        "(.parquet), as in docs/entry-format.md; several are joined by ::.",
    ),
]


def command(
    track: TrackOption,
    method_name: Annotated[str, typer.Option("--method-name", help="How the method is called on the leaderboard.")],
    author: Annotated[str, typer.Option("--author", help="Who made it.")],
    repo: Annotated[str, typer.Option("--hf-repo-name", help="Model repository on the Hub: NAME or USER/NAME.")],
    run_dir: RunOption = None,
    samples: _SamplesOption = None,
    external_data: _ExternalOption = None,
    predictions: _PredictionsOption = None,
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
    """Check a finished run or predictions, upload and enter them.

    A run needs --train-output-dir and --samples (or --external-data), predictions need --predictions: the track says
    which. They are checked as the scorer will; whether every uid is of the pool, only with --metadata-dir. An
    interrupted submission is finished by the same command. Needs DATACUP_ENDPOINT, DATACUP_TOKEN and a Hub login
    (`hf auth login`); your Hub token never reaches the leaderboard.
    """
    console = Console(as_json=as_json)
    settings = KitSettings()
    endpoint, token = settings.require_endpoint(), settings.require_token()
    rules = find_competition(competition)
    chosen_track, chosen_scale = find_track(rules, track), find_scale(rules, scale)
    words = _Words(rules, chosen_track, chosen_scale, method_name, author, description)
    of_run = {
        "--train-output-dir": run_dir,
        "--samples": samples,
        "--external-data": external_data,
        "--metadata-dir": metadata_dir,
        "--lineage": lineage,
    }
    if chosen_track.entry is EntryKind.PREDICTIONS:
        enter = _predictions(words, predictions, [option for option, value in of_run.items() if value is not None])
    else:
        if predictions is not None:
            raise UsageError(
                f"Track {track!r} takes no predictions; its entries are a subset and the model trained on it.",
                hint="Give --train-output-dir and --samples instead of --predictions.",
            )
        enter = _run(words, run_dir, samples, external_data, metadata_dir, lineage)
    with LeaderboardClient(endpoint, token) as client:
        view = enter(client, settings.hub_endpoint, repo, console)
        if wait:
            view = status.follow(client, view.id, console)
    status.show(console, view, endpoint)
    status.suggest(console, view)


@dataclass(frozen=True)
class _Words:
    """Where an entry of either kind is entered, and how it is called."""

    competition: Competition
    track: Track
    scale: Scale
    method_name: str
    author: str
    description: str


_Enter = Callable[[LeaderboardClient, str, str, Console], SubmissionView]


def _run(
    words: _Words,
    run_dir: Path | None,
    samples: str | None,
    external_data: str | None,
    metadata_dir: Path | None,
    lineage: Path | None,
) -> _Enter:
    if run_dir is None or (samples is None and external_data is None):
        raise UsageError(
            f"Track {words.track.id!r} takes a run and its subset.", hint="Give --train-output-dir and --samples."
        )

    from participant_kit.hub import resolve_repo
    from participant_kit.own_data import OwnData
    from participant_kit.submission import Entry, merge_subsets, submit

    subset = None if samples is None else merge_subsets(samples, run_dir / "merged_subset.npy")
    limits = words.competition.limits.external
    folders = [Path(folder) for folder in external_data.split("::")] if external_data is not None else []
    own = OwnData.of(folders, words.track, limits) if folders else None
    entry = Entry(
        **vars(words), run_dir=run_dir, subset=subset, metadata_dir=metadata_dir, lineage=lineage, own_data=own
    )
    return lambda client, hub, repo, console: submit(entry, client, resolve_repo(hub, repo), console.note)


def _predictions(words: _Words, file: Path | None, others: list[str]) -> _Enter:
    if file is None or others:
        given = f", not {' and '.join(others)}" if others else ""
        raise UsageError(
            f"Track {words.track.id!r} takes predictions{given}.", hint="Give --predictions FILE.npz alone."
        )

    from participant_kit.hub import resolve_repo
    from participant_kit.predictions import PredictionsEntry, submit

    entry = PredictionsEntry(**vars(words), file=file)
    return lambda client, hub, repo, console: submit(entry, client, resolve_repo(hub, repo), console.note)


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
