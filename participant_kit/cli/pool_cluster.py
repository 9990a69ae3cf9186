"""``datacup pool cluster``: cluster centres of a pool's images, for the image-based strategies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from competition.data.engine import Workers
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import MetadataDirOption, SeedOption, spread


@spread
def command(
    metadata_dir: MetadataDirOption,
    save_path: Annotated[Path, typer.Option("--save-path", help="Where the centroids go: an .npy file.")],
    clusters: Annotated[int, typer.Option("--num-clusters", min=1, help="How many clusters.")] = 100_000,
    features: Annotated[str, typer.Option("--features", help="Which features: l14_img or b32_img.")] = "l14_img",
    sample_ratio: Annotated[
        float | None,
        typer.Option(
            "--sample-ratio", help="Share of each file's images to draw, with replacement; default: all, once."
        ),
    ] = None,
    caption_filter: Annotated[
        bool,
        typer.Option(
            "--caption-filter/--no-caption-filter", help="Only images with an English caption of some length."
        ),
    ] = True,
    language_model: Annotated[
        Path | None, typer.Option("--language-model", help="fastText model; default: the bundled lid.176.ftz.")
    ] = None,
    seed: SeedOption = 0,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Group the pool's images by k-means.

    Faiss does it, on a GPU if there is one. A killed run keeps the choice of images.
    """
    console = Console(as_json=as_json)

    from participant_kit.pools.cluster import ClusterOptions, cluster_pool

    options = ClusterOptions(clusters, features, sample_ratio, caption_filter, language_model, seed=seed)
    with console.progress(f"Grouping images into {clusters:,} clusters") as progress:
        report = cluster_pool(metadata_dir, save_path, options, workers=workers, progress=progress)
    shown: dict[str, object] = {"pool": f"{report.total:,}"}
    shown |= {f"  dropped: {reason.replace('_', ' ')}": f"{count:,}" for reason, count in report.dropped.items()}
    shown |= {"images": f"{report.points:,}", "trained by": report.trained_by, "centroids": save_path}
    console.pairs(report.as_json(), shown)
    console.next_step(
        f"datacup subset image_based --centroids {save_path} --target-features FEATURES.npz "
        f"--metadata-dir {metadata_dir} --save-path subset.npy"
    )
