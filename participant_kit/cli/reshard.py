"""``datacup reshard``: write the chosen samples into shards of their own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.data.engine import Workers
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import spread
from participant_kit.cli.tars import note_tars, tars_by

if TYPE_CHECKING:
    from participant_kit.reshard import ReshardReport


@spread
def command(
    input_dir: Annotated[str, typer.Option("--input-dir", "-i", help="The pool's shards: a folder, or a URL.")],
    output_dir: Annotated[str, typer.Option("--output-dir", "-o", help="Where the new shards go: a folder, or a URL.")],
    subset: Annotated[str, typer.Option("--subset-file", "-s", help="The subset: an .npy file of uids.")],
    workers: Workers = 2,
    shard_size: Annotated[int, typer.Option("--shard-size", min=1, help="Samples a shard.")] = 10_000,
    first_shard: Annotated[
        int, typer.Option("--first-shard", min=0, help="Number of the first shard of the pool that is used.")
    ] = 0,
    num_shards: Annotated[
        int | None, typer.Option("--num-shards", min=1, help="How many shard numbers are used; default: all.")
    ] = None,
    shuffle_seed: Annotated[
        int | None, typer.Option("--shuffle-seed", min=0, help="Shuffle all samples; default: the pool's order.")
    ] = None,
    tolerate: Annotated[
        int,
        typer.Option(
            "--tolerate", min=0, help="Damaged shards, lost samples and foreign uids that do not fail the run."
        ),
    ] = 0,
    blur: Annotated[bool, typer.Option("--blur", help="Blur the faces that the json of a sample names.")] = False,
    quality: Annotated[
        int | None,
        typer.Option(
            "--reencode-quality", min=1, max=100, help="Encode images as WebP: with --blur the blurred, else all."
        ),
    ] = None,
    digests: Annotated[
        bool, typer.Option("--digests/--no-digests", help="Note every shard's BLAKE3 in manifest.json.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what another subset left there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the samples of a subset into shards of their own.

    A killed run goes on where it stopped. A uid that occurs several times in the subset is written as often.
    """
    console = Console(as_json=as_json)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's threads for matrices, of which a reshard has none

    from participant_kit.reshard import ImageChange, Options
    from participant_kit.reshard.remote import reshard_anywhere

    options = Options(
        first_shard=first_shard,
        num_shards=num_shards,
        shuffle_seed=shuffle_seed,
        tolerate=tolerate,
        change=ImageChange(blur, quality or 100) if blur or quality is not None else None,
        digests=digests,
        overwrite=overwrite,
    )
    with console.progress("Resharding") as progress:
        report = reshard_anywhere(input_dir, output_dir, subset, workers, shard_size, progress, options)
    _show(console, report, input_dir, output_dir)


def _show(console: Console, report: ReshardReport, input_dir: str, output_dir: str) -> None:
    shown: dict[str, object] = {
        "samples read": f"{report.processed_count:,}",
        "samples written": f"{report.output_count:,}",
        "shards written": f"{report.output_shard_count:,}",
        "subset uids not found": f"{report.not_found:,}",
        "folder": output_dir,
    }
    if report.changed_images or report.unchangeable_images:
        shown["images changed"] = f"{report.changed_images:,}"
    console.pairs({**report.as_json(), "tars_by": tars_by()}, shown)
    note_tars(console, "read and written")
    for warning in report.warnings:
        console.note(f"Warning: {warning}")
    name = output_dir.rstrip("/").rpartition("/")[2]
    console.next_step(
        f"datacup train --scale {scale_of(Path(input_dir))} --data-dir {output_dir} --output-dir runs --exp-name {name}"
    )


def scale_of(shards: Path) -> str:
    """The scale whose pool these shards are, as far as a built pool tells."""
    try:
        return str(json.loads((shards.parent / "pool.json").read_bytes())["scale"])
    except (OSError, ValueError, KeyError, TypeError):
        return "SCALE"
