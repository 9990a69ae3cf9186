"""``datacup pool verify``: is every file of a pool sound, and are they about the same samples?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.data.engine import Workers
from competition.errors import DataFormatError
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import spread

if TYPE_CHECKING:
    from participant_kit.pools.verify import VerifyReport

PoolArgument = Annotated[
    Path | None, typer.Argument(metavar="POOL_DIR", help="A pool's folder, with `metadata`, `shards` or both.")
]
MetadataPartOption = Annotated[
    Path | None, typer.Option("--metadata-dir", help="Instead of POOL_DIR: the metadata folder.")
]
ShardsPartOption = Annotated[Path | None, typer.Option("--shards-dir", help="Instead of POOL_DIR: the shards folder.")]


@spread
def command(
    pool: PoolArgument = None,
    metadata_dir: MetadataPartOption = None,
    shards_dir: ShardsPartOption = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read all features, compare their checksums, and hash all images.")
    ] = False,
    work_dir: Annotated[
        Path | None, typer.Option("--work-dir", help="Where a killed run keeps what it knows; default: in the pool.")
    ] = None,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Look for faults in a pool.

    The exit code is 0 only if there is none. A killed run goes on where it stopped.
    """
    console = Console(as_json=as_json)

    from participant_kit.pools.places import PoolPlaces
    from participant_kit.pools.verify import verify_pool

    places = PoolPlaces.find(pool, metadata_dir, shards_dir)
    with console.progress(f"Verifying {places.root}") as progress:
        report = verify_pool(places, workers, deep=deep, work_dir=work_dir, progress=progress)
    rows: list[tuple[str, str, str]] = []
    for finding in report.findings:
        rows.append((finding.meaning, finding.severity.value, f"{finding.count:,}"))
        rows += [(f"    {example}", "", "") for example in finding.examples]
    if rows or as_json:
        console.table(report.as_json(), "", ("finding, first examples", "severity", "count"), rows)
    _summary(console, report)
    if not report.sound:
        raise typer.Exit(DataFormatError.exit_code)


def _summary(console: Console, report: VerifyReport) -> None:
    parts = [
        f"{report.rows:,} rows in {report.metadata_files:,} metadata files, {report.feature_files:,} with features"
        if report.metadata_files
        else "",
        f"{report.samples:,} samples in {report.shards:,} shards" if report.shards else "",
    ]
    console.note(f"Looked at {'; '.join(part for part in parts if part)}.")
    images = report.images
    if images.encoded_again:
        console.note(
            "The images were encoded again after their download: their recorded sha256 is of the original bytes and "
            "says nothing about the stored ones."
        )
    elif images.compared:
        console.note(f"{images.equal:,} of {images.compared:,} stored images have their recorded sha256.")
    console.note("The pool is sound." if report.sound else "The pool is not sound.")
