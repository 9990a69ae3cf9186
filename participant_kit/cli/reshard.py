"""``datacup reshard``: write the chosen samples into shards of their own."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import WorkersOption


def command(
    input_dir: Annotated[Path, typer.Option("--input-dir", "-i", help="The pool's shards folder.")],
    output_dir: Annotated[Path, typer.Option("--output-dir", "-o", help="Where the new shards go.")],
    subset: Annotated[Path, typer.Option("--subset-file", "-s", help="The subset: an .npy file of uids.")],
    workers: WorkersOption = 2,
    shard_size: Annotated[int, typer.Option("--shard-size", min=1, help="Samples a shard.")] = 10_000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what another subset left there.")] = False,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Leave out uids that no shard holds, as of images gone from the web."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the samples of a subset into shards of their own.

    A killed run goes on where it stopped. A uid that occurs several times in the subset is written as often.
    """
    console = Console(as_json=as_json)

    from participant_kit.reshard import reshard

    with console.progress("Resharding") as progress:
        report = reshard(
            input_dir,
            output_dir,
            subset,
            workers=workers,
            shard_size=shard_size,
            overwrite=overwrite,
            allow_missing=allow_missing,
            progress=progress,
        )
    shown: dict[str, object] = {
        "samples read": f"{report.processed_count:,}",
        "samples written": f"{report.output_count:,}",
        "shards written": f"{report.output_shard_count:,}",
        "subset uids not found": f"{report.not_found:,}",
        "folder": output_dir,
    }
    console.pairs(asdict(report), shown)
    for warning in report.warnings:
        console.note(f"Warning: {warning}")
    console.next_step(
        f"datacup train --scale {scale_of(input_dir)} --data-dir {output_dir} --output-dir runs "
        f"--exp-name {output_dir.name}"
    )


def scale_of(shards: Path) -> str:
    """The scale whose pool these shards are, as far as a built pool tells."""
    try:
        return str(json.loads((shards.parent / "pool.json").read_bytes())["scale"])
    except (OSError, ValueError, KeyError, TypeError):
        return "SCALE"
