"""``datacup describe``: what a dataset is like, as a page and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from competition.data.engine import Workers
from competition.errors import UsageError
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import SeedOption, spread

if TYPE_CHECKING:
    from participant_kit.describe.description import Description


DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="A pool's folder, a folder of shards, or a labelled .parquet.")
]
PageOption = Annotated[Path, typer.Option("--save-path", help="Where the page goes: .html; JSON goes beside it.")]
SubsetOption = Annotated[Path | None, typer.Option("--subset", help="Of a pool, only these rows: an .npy file.")]
PoolOption = Annotated[Path | None, typer.Option("--pool", help="The pool that shards or a labelled table are of.")]
ShardsOption = Annotated[Path | None, typer.Option("--shards", help="Pictures are in these shards, not the pool's.")]
FeaturesOption = Annotated[
    str | None, typer.Option("--features", help="Member of the npz files to compare; default: l14_img.")
]
DuplicateOption = Annotated[float, typer.Option("--duplicate-cosine", help="Rows are look-alikes from this cosine.")]
ReferenceOption = Annotated[
    Path | None,
    typer.Option("--reference", help="Features of what it should cover: .npy, .npz, or a pool's metadata folder."),
]
CoverageOption = Annotated[
    float, typer.Option("--coverage-cosine", help="A reference is covered by a row from this cosine.")
]
EvaluationOption = Annotated[
    Path | None, typer.Option("--evaluation", help="Features of evaluation images, likewise: leaks are counted.")
]
LeakFeaturesOption = Annotated[
    str, typer.Option("--evaluation-features", help="Member of the npz files to compare with them.")
]
LeakOption = Annotated[
    float, typer.Option("--evaluation-cosine", help="What has a larger cosine is a leak; DataComp's, of ISC21.")
]
AccuracyOption = Annotated[
    Path | None, typer.Option("--per-class-accuracy", help="Scores by class: .csv with the columns label, accuracy.")
]
ModelOption = Annotated[
    Path | None, typer.Option("--language-model", help="fastText model; default: the bundled lid.176.ftz.")
]
MostShardsOption = Annotated[
    int, typer.Option("--max-shards", min=1, help="How many shards are read for pictures at most.")
]


@spread
def command(
    dataset: DatasetArgument,
    save_path: PageOption,
    subset: SubsetOption = None,
    pool: PoolOption = None,
    shards: ShardsOption = None,
    features: FeaturesOption = None,
    duplicate_cosine: DuplicateOption = 0.95,
    reference: ReferenceOption = None,
    coverage_cosine: CoverageOption = 0.9,
    evaluation: EvaluationOption = None,
    evaluation_features: LeakFeaturesOption = "dedup",
    evaluation_cosine: LeakOption = 0.604169,
    per_class_accuracy: AccuracyOption = None,
    model: ModelOption = None,
    most_shards: MostShardsOption = 100,
    seed: SeedOption = 0,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Describe a pool, a subset of it, shards, or a labelled dataset.

    The page has plots and pictures and needs no other file; the numbers are in <save-path>.json too. What cannot be
    said is named, with the reason.
    """
    console = Console(as_json=as_json)
    if save_path.suffix != ".html":
        raise UsageError(f"The save path {save_path} does not end in .html.")
    from competition.data.atomic import write_bytes
    from participant_kit.describe.dataset import Places, find_dataset
    from participant_kit.describe.options import Options
    from participant_kit.describe.page import write_page
    from participant_kit.describe.run import describe_dataset

    found = find_dataset(dataset, Places(subset, pool, shards))
    console.note(found.said)
    options = Options(features, duplicate_cosine, reference, coverage_cosine, evaluation, evaluation_features,
                      evaluation_cosine, per_class_accuracy, model, seed, most_shards)  # fmt: skip
    with console.progress("Describing") as progress:
        described = describe_dataset(found, options, save_path.parent, workers, progress)
    write_page(save_path, described)
    numbers = save_path.with_name(f"{save_path.name}.json")
    write_bytes(numbers, described.to_bytes())
    console.pairs(described.as_json(), _shown(described) | {"page": save_path, "numbers": numbers})


def _shown(described: Description) -> dict[str, object]:
    from participant_kit.describe.missing import Missing

    rows = described.rows
    shown: dict[str, Any] = {"dataset": described.dataset.said, "rows": f"{rows.rows:,}, {rows.distinct:,} different"}
    if not isinstance(described.exact, Missing):
        shown["duplicates by sha256"] = f"{described.exact.redundant:,} too many"
    if not isinstance(described.look_alikes, Missing):
        shown["look-alikes"] = f"{described.look_alikes.share:.1%} of {described.look_alikes.sampled:,} sampled rows"
    if not isinstance(described.contamination, Missing):
        shown["leaked"] = f"{described.contamination.leaked:,} rows"
    if not isinstance(described.coverage, Missing):
        shown["references covered"] = f"{described.coverage.share:.1%} of {described.coverage.references:,}"
    if not isinstance(described.classes, Missing):
        balance = described.classes.balance
        shown["classes"] = f"{balance.coverage:,} of {balance.classes:,} have samples"
    parts = {
        "languages": described.languages,
        "exact duplicates": described.exact,
        "perceptual duplicates": described.perceptual,
        "look-alikes": described.look_alikes,
        "contamination": described.contamination,
        "coverage": described.coverage,
        "pictures": described.pictures,
        **{each.replace("_", " "): part for each, part in described.distributions.items()},
    }
    absent = [name for name, part in parts.items() if isinstance(part, Missing)]
    return shown | ({"not available": ", ".join(absent)} if absent else {})
