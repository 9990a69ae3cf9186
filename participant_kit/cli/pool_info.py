"""``datacup pool info``: what a pool holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from competition.data.engine import Workers
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import spread
from participant_kit.cli.pool_verify import MetadataPartOption, PoolArgument, ShardsPartOption

if TYPE_CHECKING:
    from participant_kit.pools.info import PoolInfo

_LANGUAGES_SHOWN = 8


@spread
def command(
    pool: PoolArgument = None,
    metadata_dir: MetadataPartOption = None,
    shards_dir: ShardsPartOption = None,
    footers_only: Annotated[
        bool, typer.Option("--footers-only", help="Read no column: no score quantiles and sizes, but quickest.")
    ] = False,
    languages: Annotated[bool, typer.Option("--languages", help="Also the languages of a sample of captions.")] = False,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Say what a pool holds.

    Rows, files, bytes, columns, quantiles of scores, sizes of images, features and shards.
    """
    console = Console(as_json=as_json)

    from participant_kit.pools.info import describe_pool
    from participant_kit.pools.places import PoolPlaces

    places = PoolPlaces.find(pool, metadata_dir, shards_dir)
    with console.progress(f"Reading {places.root}") as progress:
        info = describe_pool(places, workers, footers_only=footers_only, languages=languages, progress=progress)
    console.pairs(info.as_json(), _shown(info))


def _shown(info: PoolInfo) -> dict[str, object]:
    shown: dict[str, object] = {}
    if info.metadata_files:
        shown["rows"] = f"{info.rows:,}"
        shown["metadata"] = f"{info.metadata_files:,} files, {_size(info.metadata_bytes)}"
    for name, column in info.columns.items():
        partly = f", in {column.files:,} files" if column.files < info.metadata_files else ""
        shown[f"  {name}"] = f"{column.type}, {_size(column.bytes)}{partly}"
    for name, scores in info.scores.items():
        values = "  ".join(f"{float(share):.0%} {value:.4f}" for share, value in scores.quantiles.items())
        shown[f"quantiles of {name}"] = values + (f"  missing {scores.missing:,}" if scores.missing else "")
    if info.sizes is not None:
        classes = "  ".join(f"from {side} px {count:,}" for side, count in info.sizes.shorter_side.items() if count)
        shown["shorter side"] = classes + (f"  missing {info.sizes.missing:,}" if info.sizes.missing else "")
        shown["longer than 3 to 1"] = f"{info.sizes.elongated:,}"
    if info.languages is not None:
        first = list(info.languages.items())[:_LANGUAGES_SHOWN]
        shown["languages (sample)"] = "  ".join(f"{label} {share:.1%}" for label, share in first)
    if info.metadata_files:
        shown["features"] = _size(info.feature_bytes) if info.features else "none"
    for name, feature in info.features.items():
        partly = f", in {feature.files:,} files" if feature.files < info.metadata_files else ""
        shown[f"  {name} "] = f"{feature.dimensions} x {feature.dtype}{partly}"
    if info.shards is not None:
        shards = info.shards
        shown["shards"] = f"{shards.shards:,}, {_size(shards.bytes)}"
        unknown = f" (without {shards.without_stats:,} shards that have no stats)" if shards.without_stats else ""
        shown["samples"] = f"{shards.samples:,}{unknown}"
        if shards.gaps:
            shown["missing numbers"] = f"{sum(last - first + 1 for first, last in shards.gaps):,}"
    return shown


def _size(count: int) -> str:
    """Bytes in the largest unit that leaves a number of at least 1."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}"
