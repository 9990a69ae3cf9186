"""``datacup pool index``: note where every sample of a pool lies."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from competition.data.engine import Workers
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import spread
from participant_kit.cli.tars import note_tars, tars_by


@spread
def command(
    shards_dir: Annotated[Path, typer.Option("--shards-dir", "-i", help="The pool's shards folder.")],
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Note where every sample lies, for `datacup reshard`.

    Every shard is read once; index.parquet is written beside them.
    """
    console = Console(as_json=as_json)

    from participant_kit.pools.index import build_index

    with console.progress("Indexing the pool") as progress:
        report = build_index(shards_dir, workers=workers, progress=progress)
    console.pairs(
        {**asdict(report), "tars_by": tars_by()},
        {
            "shards": f"{report.shards:,}",
            "samples": f"{report.samples:,}",
            "file": shards_dir / "index.parquet",
        },
    )
    note_tars(console, "read")
    for reason, count in report.skipped.items():
        console.note(f"Warning: {count} samples are not in the index: {reason}.")
    console.next_step(f"datacup reshard -i {shards_dir} -o shards -s subset.npy")
