"""``datacup dedup``: find images that a pool has several times, or that another set of images has too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.data.engine import Workers
from competition.errors import UsageError
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import MetadataDirOption, SavePathOption, SeedOption, spread
from participant_kit.cli.subset_report import show_report

if TYPE_CHECKING:
    from participant_kit.dedup.keep import KeepRule
    from participant_kit.dedup.pool_run import Deduplicated

app = typer.Typer(
    no_args_is_help=True,
    help="Find duplicate images, near-duplicates and leaked test images.",
)

PoolOption = Annotated[Path | None, typer.Option("--metadata-dir", help="The pool's metadata folder.")]
ShardsOption = Annotated[
    Path | None, typer.Option("--shards-dir", help="Read the images of these shards; without metadata, all there is.")
]
KeepOption = Annotated[
    str, typer.Option("--keep", help="Which of a group stays: best (by --score), largest (in pixels), first (by uid).")
]
ScoreOption = Annotated[str, typer.Option("--score", help="Column of the metadata that --keep best ranks by.")]
LinkageOption = Annotated[
    str,
    typer.Option(
        "--linkage",
        help="group: of all that pairs connect, one stays. pair: what is like a preferred one goes (SemDeDup).",
    ),
]
WithinOption = Annotated[
    Path | None, typer.Option("--within", help="Of this subset only: other rows are dropped, and take nobody's place.")
]
FeaturesOption = Annotated[str, typer.Option("--features", help="Which features: a member of the npz files.")]
BEST = "best"
SCORE = "clip_l14_similarity_score"
GROUP = "group"


@app.callback()
def _group() -> None:
    pass


@app.command("exact")
@spread
def exact(
    save_path: SavePathOption,
    metadata_dir: PoolOption = None,
    shards_dir: ShardsOption = None,
    keep: KeepOption = BEST,
    score: ScoreOption = SCORE,
    within: WithinOption = None,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Keep one of all images with the same sha256.

    It is the metadata's, or, with --shards-dir, that of the bytes in the shards.
    """
    console = Console(as_json=as_json)
    rule = _rule(keep, score)
    from participant_kit.dedup.same import Sources, deduplicate_exact

    with console.progress("Comparing digests") as progress:
        result = deduplicate_exact(Sources(metadata_dir, shards_dir, within), save_path, rule, workers, progress)
    _show(console, result, save_path, metadata_dir, shards_dir)


@app.command("perceptual")
@spread
def perceptual(
    save_path: SavePathOption,
    metadata_dir: PoolOption = None,
    shards_dir: ShardsOption = None,
    max_bits: Annotated[
        int, typer.Option("--max-bits", help="Hashes of duplicates differ in at most so many of 64 bits.")
    ] = 2,
    keep: KeepOption = BEST,
    score: ScoreOption = SCORE,
    linkage: LinkageOption = GROUP,
    within: WithinOption = None,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Keep one of all images with nearly the same pHash.

    Perceptual hashes are those that `datacup pool annotate` left, or are computed from the shards.
    """
    console = Console(as_json=as_json)
    rule, by_pair = _rule(keep, score), _by_pair(linkage)
    from participant_kit.dedup.same import Sources, deduplicate_perceptual

    with console.progress("Comparing perceptual hashes") as progress:
        result = deduplicate_perceptual(
            Sources(metadata_dir, shards_dir, within),
            save_path,
            rule,
            max_bits,
            by_pair=by_pair,
            workers=workers,
            progress=progress,
        )
    _show(console, result, save_path, metadata_dir, shards_dir)


@app.command("semantic")
@spread
def semantic(
    metadata_dir: MetadataDirOption,
    save_path: SavePathOption,
    threshold: Annotated[
        float, typer.Option("--threshold", help="Duplicates have a cosine above this: 1 - epsilon in SemDeDup.")
    ] = 0.95,
    features: FeaturesOption = "l14_img",
    clusters: Annotated[
        int | None, typer.Option("--num-clusters", help="Of k-means; default: the square root of the number of rows.")
    ] = None,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            help="Which of a group stays: best, largest, first, or outermost (farthest from its cluster's centre).",
        ),
    ] = BEST,
    score: ScoreOption = SCORE,
    linkage: LinkageOption = GROUP,
    within: WithinOption = None,
    seed: SeedOption = 0,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Keep one of all images of the same content (SemDeDup).

    Images are grouped by k-means on the pool's features, and those of one cluster compared. A killed run goes on.
    """
    console = Console(as_json=as_json)
    rule, by_pair = _rule(keep, score), _by_pair(linkage)
    from participant_kit.dedup.semantic import SemanticOptions, deduplicate_semantic

    options = SemanticOptions(threshold, features, clusters, seed, by_pair, within)
    with console.progress("Comparing contents") as progress:
        result = deduplicate_semantic(metadata_dir, save_path, rule, options, workers, progress)
    _show(console, result, save_path, metadata_dir, None)


@app.command("decontaminate")
@spread
def decontaminate(
    metadata_dir: MetadataDirOption,
    references: Annotated[
        Path,
        typer.Option(
            "--references", help="Features of evaluation images: .npy, .npz, or the metadata folder of a pool of them."
        ),
    ],
    save_path: SavePathOption,
    features: FeaturesOption = "dedup",
    threshold: Annotated[
        float, typer.Option("--threshold", help="What has a larger cosine goes; DataComp's, of ISC21, by default.")
    ] = 0.604169,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Keep the images that are like no evaluation image.

    As DataComp did: what has a cosine above the threshold with any reference goes.
    """
    console = Console(as_json=as_json)
    from participant_kit.dedup.contamination import decontaminate as run

    with console.progress("Comparing with the references") as progress:
        result = run(metadata_dir, references, save_path, features, threshold, workers, progress)
    _show(console, result, save_path, metadata_dir, None)


@app.command("describe-images")
@spread
def describe_images(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="A folder of images, shards, or an evaluation set.")],
    save_path: Annotated[Path, typer.Option("--save-path", help="Where the descriptors go: an .npz file.")],
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Describe images for decontaminate, as digits pools are.

    The descriptor is a 16 x 16 thumbnail without its mean colour, projected to 256 dimensions.
    """
    console = Console(as_json=as_json)
    from participant_kit.dedup.descriptors import describe_images as run

    with console.progress("Describing images") as progress:
        described = run(images, save_path, workers, progress)
    shown = {"images": f"{described.images:,}", "undecodable": f"{described.undecodable:,}", "descriptors": save_path}
    console.pairs(described.as_json(), shown)
    console.next_step(f"datacup dedup decontaminate --references {save_path} --metadata-dir DIR --save-path clean.npy")


@app.command("neighbours")
@spread
def neighbours(
    queries: Annotated[Path, typer.Option("--queries", help="A folder of images or shards; or features: .npy, .npz.")],
    references: Annotated[Path, typer.Option("--references", help="Alike; the same folder finds duplicates within.")],
    save_path: Annotated[Path, typer.Option("--save-path", help="Where the neighbours go: a .parquet file.")],
    metric: Annotated[str, typer.Option("--metric", help="ImageNetV2's: l2, dssim or features.")] = "l2",
    count: Annotated[int, typer.Option("--neighbours", "-k", help="How many references of each query.")] = 30,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Distance up to which pairs are grouped; default: ImageNetV2's.")
    ] = None,
    side: Annotated[int, typer.Option("--side", help="Images are brought to so many pixels on both sides.")] = 256,
    window: Annotated[int, typer.Option("--window", help="Side of dssim's window.")] = 35,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="VGG-16 as .safetensors, for features of images.")
    ] = None,
    features: Annotated[str, typer.Option("--features", help="Member of an .npz with several.")] = "fc7",
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Find the nearest references of every query (ImageNetV2).

    Pairs closer than the threshold are put into groups.
    """
    console = Console(as_json=as_json)
    from participant_kit.dedup.neighbours import NeighbourOptions, find_neighbours

    options = NeighbourOptions(metric, count, threshold, side, window, weights, features)
    with console.progress("Finding neighbours") as progress:
        report = find_neighbours(queries, references, save_path, options, workers, progress)
    shown = {
        "queries": f"{report.queries:,} ({report.undecodable['queries']:,} undecodable)",
        "references": f"{report.references:,} ({report.undecodable['references']:,} undecodable)",
        "groups": f"{report.found['groups']:,} of {report.found['members']:,} images within {options.limit:g}",
        "neighbours": save_path,
    }
    console.pairs(report.as_json(), shown)
    console.next_step(
        f"datacup dedup page {save_path}.groups.parquet --images {queries} --images {references} --save-path near.html"
    )


@app.command("page")
def page(
    groups: Annotated[
        Path, typer.Argument(metavar="GROUPS.parquet", help="As a `dedup` command left it beside its result.")
    ],
    images: Annotated[list[Path], typer.Option("--images", help="Folder of shards or images; may be given again.")],
    save_path: Annotated[Path, typer.Option("--save-path", help="Where the page goes: an .html file.")],
    count: Annotated[int, typer.Option("--groups", help="How many groups, the largest first; at most 500.")] = 50,
    members: Annotated[int, typer.Option("--members", help="Pictures of each group, at most 200.")] = 12,
    as_json: JsonOption = False,
) -> None:
    """Show groups in pictures, on a page that needs no other file."""
    console = Console(as_json=as_json)
    from participant_kit.dedup.groups import Groups, summary
    from participant_kit.dedup.page import draw_sheet, write_page

    with console.progress("Finding pictures") as progress:
        found = Groups.read(groups)
        sheet = draw_sheet(found, images, count, members, progress)
        write_page(save_path, groups.name, found, sheet)
    payload = {**summary(found), "shown": len(sheet.groups), "missing": sheet.missing, "page": str(save_path)}
    shown = {"groups": f"{found.count:,}, {len(sheet.groups):,} shown", "pictures not found": sheet.missing}
    console.pairs({**payload, "undecodable": sheet.undecodable}, {**shown, "page": save_path})


def _rule(keep: str, score: str) -> KeepRule:
    from participant_kit.dedup.keep import Keep, KeepRule

    if keep not in set(Keep):
        raise UsageError(f"--keep {keep} is unknown.", hint=f"Choose one of {', '.join(Keep)}.")
    return KeepRule(Keep(keep), score)


def _by_pair(linkage: str) -> bool:
    if linkage not in {GROUP, "pair"}:
        raise UsageError(f"--linkage {linkage} is unknown.", hint="Choose group or pair.")
    return linkage == "pair"


def _show(
    console: Console, result: Deduplicated, save_path: Path, metadata_dir: Path | None, shards_dir: Path | None
) -> None:
    """The subset as every subset is shown, with its groups."""
    pool = metadata_dir.parent if metadata_dir is not None else Path("pool")
    shards = shards_dir or pool / "shards"
    groups = {"groups": f"{result.found['groups']:,} of {result.found['members']:,} images", "file": result.groups}
    show_report(console, result.report, save_path, "pool", shards, payload=result.as_json(), more=groups)
    console.next_step(f"datacup dedup page {result.groups} --images {shards} --save-path duplicates.html")
