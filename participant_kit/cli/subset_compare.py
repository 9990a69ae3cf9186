"""``datacup subset info|diff``: what a subset holds, and where two of them differ."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from competition.data.engine import Workers
from competition.errors import UsageError
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import SeedOption, spread

if TYPE_CHECKING:
    from participant_kit.subsets.differences import Differences, Histogram
    from participant_kit.subsets.info import Overlap

SubsetArgument = Annotated[Path, typer.Argument(metavar="A.npy", help="A subset.")]
OtherArgument = Annotated[Path, typer.Argument(metavar="B.npy", help="Another subset.")]

_SIDES = {"only_a": "only A", "only_b": "only B"}


def info(subset: SubsetArgument, as_json: JsonOption = False) -> None:
    """Rows, different samples, most copies of one, digest, and the record of how the subset was made."""
    from participant_kit.subsets.info import describe_subset

    console = Console(as_json=as_json)
    with console.progress("Reading the subset") as progress:
        found = describe_subset(subset, progress)
    shown: dict[str, object] = {
        "subset": subset,
        "rows": f"{found.rows:,}",
        "different samples": f"{found.distinct:,}",
        "most copies of one": f"{found.max_multiplicity:,}",
        "sha256": found.sha256,
    }
    if found.record is None:
        shown["record"] = "none"
    elif not found.record_matches:
        shown["record"] = "of another file: its digest is not this one's"
    else:
        for label, key in (
            ("made by", "strategy"),
            ("options", "options"),
            ("from", "assets"),
            ("code", "code_version"),
        ):
            shown[label] = json.dumps(found.record.get(key)).strip('"')
    console.pairs(found.as_json(), shown)


@spread
def diff(
    first: SubsetArgument,
    second: OtherArgument,
    metadata_dir: Annotated[
        Path | None, typer.Option("--metadata-dir", help="The pool's metadata: adds scores and sizes of both sides.")
    ] = None,
    shards_dir: Annotated[
        Path | None, typer.Option("--shards-dir", help="The pool's shards, for examples; needs --save-path.")
    ] = None,
    save_path: Annotated[
        Path | None, typer.Option("--save-path", help="Where the page of examples goes: an .html file.")
    ] = None,
    examples: Annotated[int, typer.Option("--examples", help="Pictures of each side, at most 200.")] = 24,
    seed: SeedOption = 0,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """What two subsets have in common, and what only one of them has: in numbers, scores, sizes and pictures."""
    if (shards_dir is None) != (save_path is None):
        raise UsageError("A page of examples needs both --shards-dir and --save-path.")
    if save_path is not None and save_path.suffix != ".html":
        raise UsageError(f"The save path {save_path} does not end in .html.")
    from participant_kit.subsets.info import compare_subsets

    console = Console(as_json=as_json)
    differences: Differences | None = None
    with console.progress("Comparing subsets") as progress:
        overlap = compare_subsets(first, second, progress)
        if metadata_dir is not None:
            from participant_kit.subsets.differences import compare_metadata

            differences = compare_metadata(first, second, metadata_dir, workers, progress)
        if shards_dir is not None and save_path is not None:
            from participant_kit.subsets.gallery import find_examples, write_page

            gallery = find_examples(first, second, shards_dir, examples, seed, progress)
            write_page(save_path, (first.name, second.name), overlap, gallery)
    payload: dict[str, Any] = overlap.as_json()
    payload |= {"differences": differences.as_json() if differences else None}
    payload |= {"page": str(save_path) if save_path else None, "seed": seed}
    console.pairs(payload, _shown(overlap, differences, save_path))
    if differences is not None and not as_json:
        for histogram in differences.histograms:
            console.table(None, histogram.quantity, ["", "only A", "only B", "both"], _rows(histogram))


def _shown(overlap: Overlap, differences: Differences | None, page: Path | None) -> dict[str, object]:
    def line(rows: int, distinct: int) -> str:
        return f"{rows:,} rows, {distinct:,} different"

    shown: dict[str, object] = {
        "A": line(overlap.rows[0], overlap.distinct[0]),
        "B": line(overlap.rows[1], overlap.distinct[1]),
        "common": line(overlap.common_rows, overlap.common_distinct),
        "only in A": line(overlap.only_rows[0], overlap.only_distinct[0]),
        "only in B": line(overlap.only_rows[1], overlap.only_distinct[1]),
        "Jaccard": f"{overlap.jaccard_rows:.4f} by rows, {overlap.jaccard_distinct:.4f} by different samples",
    }
    if differences is not None:
        counts = ", ".join(f"{count:,} in {_SIDES.get(side, side)}" for side, count in differences.rows.items())
        shown["metadata rows"] = counts
    if page is not None:
        shown["examples"] = page
    return shown


def _rows(histogram: Histogram) -> list[list[str]]:
    """One row for each bin, with the side's share of its rows."""
    edges = histogram.edges
    labels = [
        f"below {edges[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in pairwise(edges)),
        f"from {edges[-1]:g}",
    ]
    columns = [[*counts, histogram.missing[side]] for side, counts in histogram.counts.items()]
    shares = [[f"{count:,} ({count / max(1, sum(column)):.1%})" for count in column] for column in columns]
    return [[label, *row] for label, row in zip([*labels, "missing"], zip(*shares, strict=True), strict=True)]
