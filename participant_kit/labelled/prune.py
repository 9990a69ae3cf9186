"""A labelled dataset without the samples whose labels are probably wrong: see ``confident_learning``.

A classifier on the features of the samples themselves judges them, each by models that were fitted to others. Samples
of classes with fewer samples than there are folds, and those without features, cannot be judged: they stay, and the
record says how many there are.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from competition.data.atomic import atomic_writer, make_folder
from competition.data.digests import file_sha256
from competition.data.uids import repeated_rows, uids_to_hex
from competition.data.vector_source import VectorSource
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.labelled.candidates import Candidates
from participant_kit.labelled.classes import load_classes
from participant_kit.labelled.confident_learning import Judgement, judge_labels, tools
from participant_kit.labelled.dataset import check_not_input, read_dataset
from participant_kit.labelled.features import member_of
from participant_kit.labelled.record import LabelledReport
from participant_kit.labelled.run import metadata_files
from participant_kit.labelled.sample_features import sample_features
from participant_kit.labelled.write import Dataset, write_dataset
from participant_kit.subsets.record import digests

REMOVED_SCHEMA = pa.schema(
    [("uid", pa.string()), ("label", pa.string()), ("suggested_label", pa.string()), ("score", pa.float32())]
)
"""``score`` is the probability of ``label``."""


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """How labels are judged.

    Args:
        arch: b32 or l14: whose image features are used.
        folds: of the cross-validation.
        seed: of the folds.
    """

    arch: str = "l14"
    folds: int = 5
    seed: int = 0

    def check(self) -> None:
        """Refuse what means nothing.

        Raises:
            UsageError: a number out of range, or an unknown name.
        """
        member_of(self.arch, "img")
        if self.folds < 2:
            raise UsageError(f"--folds {self.folds} is not above 1.")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed {self.seed} is not between 0 and 4294967295.")


def prune_dataset(
    table: Path,
    classes: Path,
    metadata_dir: Path,
    save_path: Path,
    options: PruneOptions,
    progress: ProgressHook | None = None,
) -> LabelledReport:
    """Write a labelled dataset without probably wrong labels, and a table of the removed rows beside it.

    Args:
        table: the dataset, a ``.parquet``.
        classes: file of its classes.
        metadata_dir: of the pool that it labels.
        save_path: as of the other ways to a labelled dataset; removed rows go to ``<stem>.removed.parquet``.
        options: see ``PruneOptions``.
        progress: told after every fold.

    Raises:
        UsageError: an option out of range, or fewer than two classes that can be judged.
        DataFormatError: a file is malformed, a sample has two labels, or features are not normalised or of two models.
        StorageError: a file cannot be read or written.
    """
    check_not_input(save_path, table)
    options.check()
    listed = load_classes(classes)
    dataset = read_dataset(table, listed)
    samples = dataset.samples
    _check_one_label(samples, table)
    files, features, present = _features(samples, metadata_dir, f"{options.arch}_img")
    judged = _judged(samples.labels, present, options.folds, len(listed))
    codes, labels = np.unique(samples.labels[judged], return_inverse=True)
    judgement = judge_labels(features[judged], labels, options.folds, options.seed, progress)
    make_folder(save_path.parent)
    removed = write_removed(save_path, samples.take(judged), codes[judgement.suggested], judgement, listed.ids)
    kept = np.ones(len(samples), dtype=bool)
    kept[judged[judgement.issues]] = False
    notes = {
        "judged": len(judged),
        "without_features": int(np.count_nonzero(~present)),
        "models_not_converged": judgement.unconverged,
    }
    pruned = Dataset(
        "prune",
        _recorded(options, features),
        1 + files,
        len(samples),
        {"label_issue": int(np.count_nonzero(~kept))},
        0,
        samples.take(kept),
        listed.ids,
        dataset.sources.__getitem__,
        dataset.scored,
        0,
        digests({"labels": table, "classes": classes}),
        tools=tools(),
        notes=notes | removed | _of_classes(samples.labels, kept, codes, listed.ids),
    )
    return write_dataset(pruned, save_path)


def _features(
    samples: Candidates, metadata_dir: Path, member: str
) -> tuple[int, NDArray[np.float32], NDArray[np.bool_]]:
    """Metadata files, the samples' features, and which samples have some; features of two models are refused."""
    files = metadata_files(metadata_dir)
    VectorSource.of_metadata(files, member)
    return len(files), *sample_features(samples.uids, metadata_dir, member)


def _of_classes(
    labels: NDArray[np.int32], kept: NDArray[np.bool_], judged: NDArray[np.int32], ids: list[str]
) -> dict[str, Any]:
    """Samples of each class before, how many were removed, and the classes that were not judged."""
    before, removed = (np.bincount(each, minlength=len(ids)) for each in (labels, labels[~kept]))
    unjudged = np.setdiff1d(np.flatnonzero(before), judged)
    return {
        "per_class_before": dict(zip(ids, before.tolist(), strict=True)),
        "removed_per_class": dict(zip(ids, removed.tolist(), strict=True)),
        "classes_not_judged": [ids[place] for place in unjudged],
    }


def write_removed(
    save_path: Path, judged: Candidates, suggested: NDArray[Any], judgement: Judgement, ids: list[str]
) -> dict[str, Any]:
    """Write the rows with label issues, the least probable label first, beside the dataset.

    Args:
        save_path: of the dataset.
        judged: the samples that were, in the order of the judgement.
        suggested: the class that is suggested for each of them.
        judgement: of their labels.
        ids: of the classes.

    Returns:
        What the dataset's record says of the table.

    Raises:
        StorageError: the disk is full or the path cannot be written.
    """
    path = save_path.with_name(f"{save_path.stem}.removed.parquet")
    rows = np.flatnonzero(judgement.issues)
    rows = rows[np.argsort(judgement.quality[rows], kind="stable")]
    names = pa.array(ids, pa.string())
    columns = [
        pa.array(uids_to_hex(judged.uids[rows]), pa.string()),
        names.take(pa.array(judged.labels[rows])),
        names.take(pa.array(suggested[rows])),
        pa.array(judgement.quality[rows].astype(np.float32)),
    ]
    with atomic_writer(path) as stream:
        pq.write_table(pa.Table.from_arrays(columns, schema=REMOVED_SCHEMA), stream, compression="zstd")
    return {"removed_table": path.name, "removed_sha256": file_sha256(path)}


def _recorded(options: PruneOptions, features: NDArray[np.float32]) -> dict[str, Any]:
    """The options, and a digest of the samples' features, which no file of the assets holds."""
    digest = hashlib.sha256(np.ascontiguousarray(features).tobytes()).hexdigest()
    return asdict(options) | {"features_sha256": digest, "size": None, "per_class": None}


def _judged(labels: NDArray[np.int32], present: NDArray[np.bool_], folds: int, classes: int) -> NDArray[np.int64]:
    """The rows that can be judged.

    Raises:
        UsageError: they are of fewer than two classes.
    """
    enough = np.bincount(labels[present], minlength=classes) >= folds
    if enough.sum() < 2:
        raise UsageError(
            f"{int(enough.sum())} of the {classes:,} classes has at least {folds} samples with features.",
            hint="Labels are judged by comparing classes: two are needed, of as many samples as --folds.",
        )
    return np.flatnonzero(present & enough[labels])


def _check_one_label(samples: Candidates, table: Path) -> None:
    several = repeated_rows(samples.uids)
    if several:
        raise UsageError(
            f"{several:,} rows of {table} are further labels of samples that have one already.",
            hint="A sample's labels are compared with each other: prune a dataset in which each has one.",
        )
