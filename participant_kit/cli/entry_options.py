"""What is entered, as `datacup submit` and `datacup check` are told it: the same options, the same entry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.errors import UsageError
from competition.rules import Competition, EntryKind, find_scale, find_track

if TYPE_CHECKING:
    from participant_kit.entering import Entered

MethodOption = Annotated[str, typer.Option("--method-name", help="How the method is called on the leaderboard.")]
AuthorOption = Annotated[str, typer.Option("--author", help="Who made it.")]
RepoOption = Annotated[str, typer.Option("--hf-repo-name", help="Model repository on the Hub: NAME or USER/NAME.")]
DescriptionOption = Annotated[str, typer.Option("--description", help="What was done, in a few sentences.")]
SamplesOption = Annotated[
    str | None, typer.Option("--samples", help="The subset that was trained on: FILE.npy[::FILE.npy].")
]
ExternalOption = Annotated[
    str | None,
    typer.Option(
        "--external-data",
        help="On tracks for data of your own: folder of the shards (.tar) that were trained on too, or of tables "
        "(.parquet), as in docs/entry-format.md; several are joined by ::.",
    ),
]
PredictionsOption = Annotated[
    Path | None,
    typer.Option("--predictions", help="Instead of a run, on tracks that take it: the .npz of docs/entry-format.md."),
]
PoolOption = Annotated[
    Path | None,
    typer.Option("--metadata-dir", help="The pool's metadata folder, to check that the subset is of this pool."),
]
LineageOption = Annotated[
    Path | None,
    typer.Option("--lineage", help="The dataset.json of `datacup build`: how the subset was made, for all to see."),
]


@dataclass(frozen=True)
class Words:
    """Where something is entered, and how it is called."""

    competition: Competition
    track: str
    scale: str
    method_name: str
    author: str
    description: str


@dataclass(frozen=True)
class Parts:
    """What an entry of either kind is made of; the track says which of them."""

    run_dir: Path | None
    samples: str | None
    external_data: str | None
    predictions: Path | None
    metadata_dir: Path | None
    lineage: Path | None


def chosen_entry(words: Words, parts: Parts) -> Entered:
    """The entry of these parts (raises ``UsageError`` when there is no such track, or it takes something else)."""
    track, scale = find_track(words.competition, words.track), find_scale(words.competition, words.scale)
    told = {**vars(words), "track": track, "scale": scale}
    if track.entry is EntryKind.PREDICTIONS:
        from participant_kit.predictions import PredictionsEntry

        return PredictionsEntry(**told, file=_predictions(track.id, parts))
    run_dir = _run(track.id, parts)

    from participant_kit.own_data import OwnData
    from participant_kit.submission import Entry, merge_subsets

    subset = None if parts.samples is None else merge_subsets(parts.samples, run_dir / "merged_subset.npy")
    own = None
    if parts.external_data is not None:
        folders = [Path(folder) for folder in parts.external_data.split("::")]
        own = OwnData.of(folders, track, words.competition.limits.external)
    return Entry(
        **told, run_dir=run_dir, subset=subset, own_data=own, metadata_dir=parts.metadata_dir, lineage=parts.lineage
    )


def _run(track: str, parts: Parts) -> Path:
    if parts.predictions is not None:
        raise UsageError(
            f"Track {track!r} takes no predictions; its entries are a subset and the model trained on it.",
            hint="Give --train-output-dir and --samples instead of --predictions.",
        )
    if parts.run_dir is None or (parts.samples is None and parts.external_data is None):
        raise UsageError(f"Track {track!r} takes a run and its subset.", hint="Give --train-output-dir and --samples.")
    return parts.run_dir


def _predictions(track: str, parts: Parts) -> Path:
    of_run = {
        "--train-output-dir": parts.run_dir,
        "--samples": parts.samples,
        "--external-data": parts.external_data,
        "--metadata-dir": parts.metadata_dir,
        "--lineage": parts.lineage,
    }
    others = [option for option, value in of_run.items() if value is not None]
    if parts.predictions is None or others:
        given = f", not {' and '.join(others)}" if others else ""
        raise UsageError(f"Track {track!r} takes predictions{given}.", hint="Give --predictions FILE.npz alone.")
    return parts.predictions
