"""``datacup subset and|or|minus|weights|sample|top``: subsets from subsets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from competition.data.engine import Workers
from competition.errors import UsageError
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import MetadataDirOption, SavePathOption, SeedOption, spread
from participant_kit.cli.subset_report import show_report

SubsetsArgument = Annotated[list[Path], typer.Argument(metavar="SUBSET.npy", help="Two or more subsets.")]
SubsetArgument = Annotated[Path, typer.Argument(metavar="A.npy", help="A subset.")]
CountOption = Annotated[int | None, typer.Option("--count", "-n", help="How many rows; or --fraction.")]
FractionOption = Annotated[float | None, typer.Option("--fraction", help="Share of the rows, in (0, 1].")]

_SHARDS = Path("POOL/shards")


def both(subsets: SubsetsArgument, save_path: SavePathOption, as_json: JsonOption = False) -> None:
    """What all subsets have: of every uid as many copies as the subset with fewest has."""
    _combine("and", subsets, save_path, as_json=as_json)


def either(subsets: SubsetsArgument, save_path: SavePathOption, as_json: JsonOption = False) -> None:
    """What any subset has: of every uid as many copies as the subset with most has."""
    _combine("or", subsets, save_path, as_json=as_json)


def minus(subsets: SubsetsArgument, save_path: SavePathOption, as_json: JsonOption = False) -> None:
    """What the first subset has and the others lack: each copy there takes one away."""
    _combine("minus", subsets, save_path, as_json=as_json)


def weights(
    weighted: Annotated[
        list[str], typer.Argument(metavar="SUBSET.npy=WEIGHT", help="Subsets, each with a whole number; 1 without.")
    ],
    save_path: SavePathOption,
    as_json: JsonOption = False,
) -> None:
    """All subsets together, each as often as its weight says: A=2 B=1 gives a uid of both three copies."""
    from participant_kit.subsets.algebra import weigh_subsets

    pairs = [_weight(text) for text in weighted]
    console = Console(as_json=as_json)
    with console.progress("Weighing subsets") as progress:
        report = weigh_subsets(pairs, save_path, progress)
    show_report(console, report, save_path, "rows", _SHARDS)


def sample(
    subset: SubsetArgument,
    save_path: SavePathOption,
    count: CountOption = None,
    fraction: FractionOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Random rows of a subset: exactly as many as asked for, the same for the same seed."""
    from participant_kit.subsets.ranking import Share
    from participant_kit.subsets.sample import sample_subset

    console = Console(as_json=as_json)
    with console.progress("Drawing lots") as progress:
        report = sample_subset(subset, save_path, Share(count, fraction), seed, progress)
    show_report(console, report, save_path, "rows", _SHARDS)


@spread
def top(
    subset: SubsetArgument,
    column: Annotated[str, typer.Option("--by", help="A column of numbers, for instance clip_l14_similarity_score.")],
    metadata_dir: MetadataDirOption,
    save_path: SavePathOption,
    count: CountOption = None,
    fraction: FractionOption = None,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """The rows of a subset with the greatest values of a metadata column, and all that tie with the last one.

    By --count N, the least value kept is the N-th greatest. By --fraction, it is the (n+1)-th greatest with
    n = int(rows * fraction), as in DataComp's CLIP-score filter. Copies of a uid share its value, the greatest of its
    metadata rows; a row without a value is never kept.
    """
    from participant_kit.subsets.ranking import Share
    from participant_kit.subsets.top import top_subset

    console = Console(as_json=as_json)
    with console.progress(f"Ranking by {column}") as progress:
        report = top_subset(subset, column, metadata_dir, save_path, Share(count, fraction), workers, progress)
    show_report(console, report, save_path, "rows", metadata_dir.parent / "shards")


def _combine(operation: str, subsets: list[Path], save_path: Path, *, as_json: bool) -> None:
    from participant_kit.subsets.algebra import combine_subsets

    console = Console(as_json=as_json)
    with console.progress("Combining subsets") as progress:
        report = combine_subsets(operation, subsets, save_path, progress)
    show_report(console, report, save_path, "rows", _SHARDS)


def _weight(text: str) -> tuple[Path, int]:
    """``A.npy=2``; a path without a weight counts once."""
    path, equals, number = text.rpartition("=")
    if not equals:
        return Path(text), 1
    if not (path and number.isascii() and number.isdigit()):
        raise UsageError(f"{text!r} is not a subset with a whole number as its weight.", hint="For instance A.npy=2.")
    return Path(path), int(number)
