"""Passing over a dataset's rows once: how many there are, and how their sizes, captions, languages and scores are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from competition.data.engine import Engine
from competition.data.metadata import column_types, row_count
from competition.data.shards import expected_samples
from competition.data.uids import UID_DTYPE, UidArray, contained_in, load_subset, save_subset, sort_uids
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.dedup.groups import joined
from participant_kit.describe.dataset import Dataset, Kind
from participant_kit.describe.description import LANGUAGES, Languages, RowCounts
from participant_kit.describe.duplicates import Duplicates, distinct_rows, exact_duplicates, perceptual_duplicates
from participant_kit.describe.missing import Missing
from participant_kit.describe.parts import Part, RowTable, Wanted, count_metadata, count_shard, together
from participant_kit.describe.quantities import CAPTIONS, L14, SCORES, SIZES, Distribution
from participant_kit.describe.rows import CAPTION, HASH, SHA, Marks, shard_uids
from participant_kit.describe.rows import SIZES as SIZE_COLUMNS
from participant_kit.labelled.table import LabelColumns
from participant_kit.subsets.language import language_model, predictor

RANKED = 12
LANGUAGE_SAMPLE = 200_000
"""Captions whose language is looked at, about; of all rows where there are no more."""

_GIVE_POOL = "Give the pool that it is of with --pool."
_ANNOTATE = "Annotate the pool with `datacup pool annotate`."


@dataclass(frozen=True, slots=True)
class Counted:
    """What one pass says.

    Args:
        selection: file of the sorted uids that the dataset has; every row of the pool when absent.
        rows: each uid once.
        part: all files together.
        counts: of rows.
        distributions: by quantity.
        languages: of captions.
        exact: duplicates by sha256.
        perceptual: duplicates by perceptual hash.
        model: the language model, if there is one.
    """

    selection: Path | None
    rows: RowTable
    part: Part
    counts: RowCounts
    distributions: Mapping[str, Distribution | Missing]
    languages: Languages | Missing
    exact: Duplicates | Missing
    perceptual: Duplicates | Missing
    model: Path | None


def count_dataset(
    dataset: Dataset,
    labels: LabelColumns | None,
    model: Path | None,
    seed: int,
    work: Path,
    engine: Engine,
    progress: ProgressHook | None,
) -> Counted:
    """Read all rows once.

    Args:
        dataset: whose.
        labels: of a labelled dataset.
        model: of languages; the bundled one when absent.
        seed: of the captions whose language is looked at.
        work: a folder for the uids that the dataset has, where no file has them sorted.
        engine: runs one task a file.
        progress: told after every file.

    Raises:
        DataFormatError: a file is damaged.
        StorageError: a file cannot be read.
        UsageError: a language model is named that is not there.
    """
    selection = _selection(dataset, labels, work, engine, progress)
    lid = _language_model(model)
    wanted = Wanted(selection, None if isinstance(lid, Missing) else lid, _language_share(dataset, selection),
                    _score(dataset), RANKED, seed)  # fmt: skip
    by_metadata = bool(dataset.metadata) or dataset.kind is not Kind.SHARDS
    if by_metadata:
        found = engine.map(partial(count_metadata, wanted), {path.name: path for path in dataset.metadata},
                           stage="reading metadata", progress=progress)  # fmt: skip
    else:
        found = engine.map(partial(count_shard, wanted), {shard.name: shard for shard in dataset.shards},
                           stage="reading shards", progress=progress)  # fmt: skip
    part = together(list(found.values()), RANKED)
    rows = distinct_rows(part.rows)
    if labels is not None and not dataset.metadata:
        rows = distinct_rows(_only_uids(labels.uids))
    share = wanted.language_share
    return Counted(
        selection,
        rows,
        part,
        _row_counts(part, rows, selection),
        _distributions(dataset, part),
        lid if isinstance(lid, Missing) else _languages(dataset, part, lid, share),
        _exact(dataset, part, rows),
        _perceptual(dataset, part, rows),
        wanted.language_model,
    )


def _selection(
    dataset: Dataset, labels: LabelColumns | None, work: Path, engine: Engine, progress: ProgressHook | None
) -> Path | None:
    """The subset's file, or one of the uids that a table or shards have."""
    if labels is not None:
        uids = labels.uids
    elif dataset.kind is Kind.SHARDS and dataset.metadata:
        tasks = {shard.name: shard for shard in dataset.shards}
        found = engine.map(shard_uids, tasks, stage="reading shards", progress=progress)
        uids = joined([uids for uids, _ in found.values()], UID_DTYPE)
    else:
        return dataset.subset
    path = work / "selection.npy"
    save_subset(path, sort_uids(uids))
    return path


def _language_model(given: Path | None) -> Path | Missing:
    try:
        return language_model(given)
    except UsageError as error:
        if given is not None:
            raise
        return Missing(error.message.rstrip(".").lower(), error.hint)


def _language_share(dataset: Dataset, selection: Path | None) -> float:
    if selection is not None:
        rows = len(load_subset(selection, require_sorted=False))
    elif dataset.metadata:
        rows = sum(map(row_count, dataset.metadata))
    else:
        rows = sum(expected_samples(shard) or 0 for shard in dataset.shards)
    return min(1.0, LANGUAGE_SAMPLE / max(1, rows))


def _score(dataset: Dataset) -> str | None:
    """The column that rows are ranked by: the larger model's score, if there is one."""
    present = set(column_types(dataset.metadata[0]).names) if dataset.metadata else set()
    return next((score.key for score in (L14, *SCORES) if score.key in present), None)


def _only_uids(uids: UidArray) -> RowTable:
    return RowTable(uids, np.ones(len(uids), np.int32), Marks.none(len(uids)), Marks.none(len(uids)))


def _row_counts(part: Part, rows: RowTable, selection: Path | None) -> RowCounts:
    total = int(rows.copies.sum(dtype=np.int64))
    absent = 0
    if selection is not None:
        uids = load_subset(selection, require_sorted=False)
        absent = int(np.count_nonzero(~contained_in(uids, rows.uids))) if len(uids) else 0
    most = int(rows.copies.max(initial=0))
    return RowCounts(
        total, len(rows.uids), total - len(rows.uids), most, part.read, absent, part.without_uid, part.damaged
    )


def _distributions(dataset: Dataset, part: Part) -> dict[str, Distribution | Missing]:
    found: dict[str, Distribution | Missing] = {}
    for quantities, columns in (
        (SIZES, SIZE_COLUMNS),
        (CAPTIONS, (CAPTION,)),
        *(((each,), (each.key,)) for each in SCORES),
    ):
        for quantity in quantities:
            there = quantity.key in part.distributions and set(columns) <= part.columns
            found[quantity.key] = (
                part.distributions[quantity.key] if there else _no_column(dataset, " and ".join(columns))
            )
    return found


def _no_column(dataset: Dataset, what: str) -> Missing:
    """Why nothing is known of a column."""
    if dataset.metadata:
        return Missing(f"the metadata have no {what}", _ANNOTATE)
    if dataset.kind is Kind.LABELLED:
        return Missing("a labelled table has no metadata of its samples", _GIVE_POOL)
    return Missing(f"the samples' json has no {what}", _GIVE_POOL)


def _languages(dataset: Dataset, part: Part, model: Path, share: float) -> Languages | Missing:
    if CAPTION not in part.columns:
        return _no_column(dataset, CAPTION)
    ordered = sorted(part.languages.items(), key=lambda item: (-item[1], item[0]))
    total, named = part.languages.total(), dict(ordered[:LANGUAGES])
    return Languages(total, share < 1, named, total - sum(named.values()), predictor(model).name)


def _exact(dataset: Dataset, part: Part, rows: RowTable) -> Duplicates | Missing:
    return exact_duplicates(rows) if SHA in part.columns else _no_column(dataset, SHA)


def _perceptual(dataset: Dataset, part: Part, rows: RowTable) -> Duplicates | Missing:
    if HASH in part.columns:
        return perceptual_duplicates(rows)
    if dataset.metadata:
        return Missing("neither the metadata nor their extras have perceptual hashes", _ANNOTATE)
    return _no_column(dataset, "perceptual hashes")
