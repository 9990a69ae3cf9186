"""``datacup pool search``: the samples of a pool that are nearest to given features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from competition.data.engine import Workers
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import MetadataDirOption, spread


@spread
def command(
    metadata_dir: MetadataDirOption,
    queries: Annotated[
        Path, typer.Option("--queries", help="Features to search with, by the pool's model: .npz, .npy or .parquet.")
    ],
    save_path: Annotated[Path, typer.Option("--save-path", help="Where the neighbours go: a .parquet file.")],
    k: Annotated[int, typer.Option("-k", "--neighbours", min=1, help="Neighbours of each query.")] = 10,
    features: Annotated[str, typer.Option("--features", help="Member of the pool's npz files.")] = "l14_img",
    index: Annotated[
        str | None,
        typer.Option("--index", help="flat (exact), ivf-pq or hnsw; default: flat up to 100,000 samples, else ivf-pq."),
    ] = None,
    index_dir: Annotated[
        Path | None,
        typer.Option("--index-dir", help="Where the index is kept for the next search; default: beside the result."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the index's training; recorded.")] = 0,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Find the nearest samples of every query.

    Writes query, rank, uid and similarity. The recall of an approximate index is measured and shown.
    """
    console = Console(as_json=as_json)

    from participant_kit.pools.search import SearchOptions, search_pool

    options = SearchOptions(k, features, index, index_dir, seed)
    with console.progress(f"Searching {metadata_dir}") as progress:
        report = search_pool(metadata_dir, queries, save_path, options, workers=workers, progress=progress)
    shown: dict[str, object] = {
        "pool": f"{report.rows:,}",
        "queries": f"{report.queries:,}",
        "index": report.index["kind"],
        f"recall@{report.k}": f"{report.recall:.4f} (on {report.recall_queries:,} queries)",
        "neighbours": save_path,
    }
    console.pairs(report.as_json(), shown)
