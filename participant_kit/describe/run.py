"""Describing a dataset: its rows are counted, its features compared, and some of its pictures found."""

from __future__ import annotations

import hashlib
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from competition.canonical import digest
from competition.data.atomic import make_folder, storage_errors
from competition.data.engine import Workers, engine_of
from competition.data.metadata import EXTRAS_FOLDER, features_path, list_metadata
from competition.data.uids import UidArray
from competition.progress import ProgressHook
from participant_kit.describe.classes import class_samples, describe_classes
from participant_kit.describe.comparing import Comparisons
from participant_kit.describe.counting import count_dataset
from participant_kit.describe.dataset import Dataset, Kind
from participant_kit.describe.description import Description, Provenance
from participant_kit.describe.grids import class_grids, duplicate_grids, reference_grids, score_grids
from participant_kit.describe.missing import Missing
from participant_kit.describe.options import Options
from participant_kit.describe.pictures import Cell, Grid, Pictures, find_pictures
from participant_kit.labelled.table import LabelColumns, read_labels
from participant_kit.subsets.record import digests

_NO_LABELS = Missing("it has no labels", "Make a labelled dataset with `datacup label`.")
_NO_SHARDS = Missing("no shards are given", "Give them with --shards, or with a pool that has them.")


def describe_dataset(
    dataset: Dataset, options: Options, near: Path, workers: Workers = 1, progress: ProgressHook | None = None
) -> Description:
    """Read a dataset, and say what it is like.

    Args:
        dataset: as ``find_dataset`` found it.
        options: what is looked at.
        near: a folder in which a temporary one is made, and removed at the end; created when absent.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every file.

    Raises:
        UsageError: an option does not fit the dataset.
        DataFormatError: a file is damaged.
        StorageError: a file cannot be read, or the folder cannot be written.
    """
    options.check(dataset)
    make_folder(near)
    engine, seed = engine_of(workers), options.seed
    labels = None if dataset.table is None else read_labels(dataset.table)
    with storage_errors("writing", near):
        temporary = tempfile.TemporaryDirectory(prefix=".describe-", dir=near)
    with temporary as folder:
        work = Path(folder)
        counted = count_dataset(dataset, labels, options.language_model, seed, work, engine, progress)
        selection = counted.selection
        compared = Comparisons(dataset, options.features, selection, work, engine, progress)
        look_alikes = compared.look_alikes(counted.rows.uids, options.duplicate_cosine, seed)
        leaks = compared.contamination(options.evaluation, options.evaluation_features, options.evaluation_cosine)
        coverage = compared.coverage(options.reference, options.coverage_cosine)
        grids = score_grids(counted.part.best, counted.part.worst)
        grids += duplicate_grids(counted.exact, counted.perceptual, look_alikes) + reference_grids(leaks, coverage)
        classes, of_classes = _classes(dataset, labels, options)
        pictures, grids = _pictures(dataset, grids + of_classes, selection, options, progress)
    return Description(
        dataset,
        counted.counts,
        counted.distributions,
        counted.languages,
        counted.exact,
        counted.perceptual,
        look_alikes,
        leaks,
        coverage,
        classes,
        pictures,
        _provenance(dataset, options, counted.rows.uids, counted.model),
        grids,
    )


def _classes(dataset: Dataset, labels: LabelColumns | None, options: Options) -> tuple[Any, list[Grid]]:
    if labels is None:
        return _NO_LABELS, []
    classes = describe_classes(labels, list(dataset.record["per_class"]), options.per_class_accuracy)
    return classes, class_grids(class_samples(labels, classes.counts, options.seed), classes.counts)


def _pictures(
    dataset: Dataset, grids: list[Grid], selection: Path | None, options: Options, progress: ProgressHook | None
) -> tuple[Pictures | Missing, list[Grid]]:
    """What was found of the grids, and these with one of samples that were drawn."""
    if not dataset.shards:
        return _NO_SHARDS, grids
    wanted = [cell.uid for grid in grids for cell in grid.cells]
    chosen = None if dataset.kind is Kind.SHARDS else selection
    pictures = find_pictures(dataset.shards, chosen, wanted, options.most_shards, options.seed, progress)
    drawn = Grid("random", "Drawn by lot", [Cell(uid) for uid in pictures.random])
    return pictures, [drawn, *grids]


def _provenance(dataset: Dataset, options: Options, uids: UidArray, model: Path | None) -> Provenance:
    files: dict[str, Path | None] = {
        "subset": dataset.subset,
        "table": dataset.table,
        "language_model": model,
        "reference": options.reference,
        "evaluation": options.evaluation,
        "per_class_accuracy": options.per_class_accuracy,
    }
    recorded = digests({role: path for role, path in files.items() if path is not None and not path.is_dir()})
    for role, path in files.items():
        if path is not None and path.is_dir():
            recorded[role] = {"file": path.name, "names_and_sizes_sha256": _of_metadata(list_metadata(path))}
    return Provenance(
        hashlib.sha256(uids.tobytes()).hexdigest(),
        _of_metadata(dataset.metadata),
        _states_digest({shard.name: shard.path for shard in dataset.shards}),
        recorded,
        _numbers(options),
        _command(dataset, options),
        options.seed,
    )


def _of_metadata(files: Sequence[Path]) -> str:
    """Over metadata files, their features and their extras."""
    paths = {path.name: path for file in files for path in (file, features_path(file))}
    extras = {f"{EXTRAS_FOLDER}/{path.name}": path.parent / EXTRAS_FOLDER / path.name for path in files}
    return _states_digest(paths | extras)


def _states_digest(paths: Mapping[str, Path]) -> str:
    """Over names and sizes of those that there are; empty where there is none."""
    present = [[name, path.stat().st_size] for name, path in sorted(paths.items()) if path.exists()]
    return digest(present) if present else ""


_FLAGS = {
    "features": "--features",
    "duplicate_cosine": "--duplicate-cosine",
    "coverage_cosine": "--coverage-cosine",
    "evaluation_features": "--evaluation-features",
    "evaluation_cosine": "--evaluation-cosine",
    "most_shards": "--max-shards",
}
_FILES = {
    "reference": "--reference",
    "evaluation": "--evaluation",
    "per_class_accuracy": "--per-class-accuracy",
    "language_model": "--language-model",
}


def _numbers(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in _FLAGS}


def _command(dataset: Dataset, options: Options) -> str:
    """With names of files alone, and the options that are not the default."""
    words = ["datacup", "describe", *dataset.words]
    for name, flag in _FILES.items():
        path: Path | None = getattr(options, name)
        words += [flag, path.name] if path is not None else []
    for name, flag in _FLAGS.items():
        value = getattr(options, name)
        words += [flag, str(value)] if value != getattr(Options(), name) else []
    return shlex.join([*words, "--seed", str(options.seed), "--save-path", "page.html"])
