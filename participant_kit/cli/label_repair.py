"""``datacup label balance`` and ``prune``: from a labelled dataset to a better one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.label_report import show_labelled
from participant_kit.cli.options import MetadataDirOption, SeedOption

LabelsOption = Annotated[Path, typer.Option("--labels", help="The dataset: a .parquet that `datacup label` wrote.")]
ClassesOption = Annotated[Path, typer.Option("--classes", help="The class list that it was made with.")]
RepairedOption = Annotated[
    Path, typer.Option("--save-path", help="The table to write, a .parquet; its uids go to the .npy beside it.")
]


def balance(
    labels: LabelsOption,
    classes: ClassesOption,
    save_path: RepairedOption,
    distribution: Annotated[
        str,
        typer.Option("--distribution", help="uniform, power, or a file of class ids and shares (or numbers)."),
    ] = "uniform",
    exponent: Annotated[
        float | None,
        typer.Option("--exponent", help="Of power: shares are count ** exponent; 1 keeps them, 0 is uniform."),
    ] = None,
    imbalance: Annotated[
        float | None,
        typer.Option("--imbalance", help="Of power: a long tail with this largest over smallest share."),
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Samples of all classes; default: the most that all can fill.")
    ] = None,
    max_repeats: Annotated[
        int, typer.Option("--max-repeats", help="How often a sample may be taken, to fill small classes.")
    ] = 1,
    draw: Annotated[
        bool, typer.Option("--draw", help="Choose samples by lot; default: the best scores, where there are some.")
    ] = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Give a labelled dataset another distribution.

    Large classes give fewer samples; small ones give all, and are repeated only with --max-repeats. What cannot be
    filled is reported.
    """
    from participant_kit.labelled.balance import BalanceOptions, balance_dataset

    options = BalanceOptions(distribution, exponent, imbalance, size, max_repeats, draw, seed)
    report = balance_dataset(labels, classes, save_path, options)
    show_labelled(Console(as_json=as_json), report, save_path, None)


def prune(
    labels: LabelsOption,
    classes: ClassesOption,
    metadata_dir: MetadataDirOption,
    save_path: RepairedOption,
    arch: Annotated[str, typer.Option("--arch", help="Whose image features judge: b32 or l14.")] = "l14",
    folds: Annotated[int, typer.Option("--folds", help="Of the cross-validation.")] = 5,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Remove samples whose labels are probably wrong.

    Confident learning (cleanlab) on the predictions of classifiers that have not seen the sample. The removed rows,
    with suggested labels, go to a table beside the dataset.
    """
    from participant_kit.labelled.prune import PruneOptions, prune_dataset

    console = Console(as_json=as_json)
    options = PruneOptions(arch, folds, seed)
    with console.progress("Judging labels") as progress:
        report = prune_dataset(labels, classes, metadata_dir, save_path, options, progress)
    show_labelled(console, report, save_path, metadata_dir)
