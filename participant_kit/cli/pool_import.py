"""``datacup pool import``: a local folder of images, or any webdataset, as a pool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from competition.data.engine import Workers
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import spread


@spread
def command(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of images (any depth), or of a webdataset's tars.")],
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Where the pool goes; default: pools/<folder's name>.")
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option("--captions", help="A .csv, .tsv or .parquet; default: the .txt or .json beside each image."),
    ] = None,
    file_col: Annotated[str, typer.Option("--file-col", help="With --captions: the column of file names.")] = "file",
    caption_col: Annotated[
        str, typer.Option("--caption-col", help="With --captions: the column of captions.")
    ] = "caption",
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Make shards of a folder of images or of a webdataset.

    A killed import goes on where it stopped.
    """
    console = Console(as_json=as_json)
    folder = output_dir or Path("pools") / source.resolve().name

    from participant_kit.pools.captions_table import CaptionTable
    from participant_kit.pools.importing import import_pool

    table = CaptionTable(captions, file_col, caption_col) if captions is not None else None
    with console.progress("Importing samples") as progress:
        report = import_pool(source, folder, captions=table, workers=workers, progress=progress)
    shown: dict[str, object] = {"found": f"{report.found:,}"}
    shown |= {f"  dropped: {reason}": f"{count:,}" for reason, count in report.dropped.items()}
    shown |= {"samples": f"{report.samples:,}", "  without a caption": f"{report.without_caption:,}"}
    shown |= {"  kept their uid": f"{report.kept_uids:,}", "shards": f"{report.shards:,}", "folder": folder}
    console.pairs({**report.model_dump(mode="json"), "folder": str(folder)}, shown)
    console.next_step(
        f"datacup pool annotate -i {folder}/shards -o {folder}/metadata --model ViT-B-32 --pretrained openai"
    )
