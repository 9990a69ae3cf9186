"""Reading a labelled dataset that ``datacup label`` wrote, to repair it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from competition.data.metadata import column_uids, read_columns
from competition.data.uids import uids_to_hex
from competition.errors import DataFormatError, UsageError
from participant_kit.labelled.candidates import Candidates
from participant_kit.labelled.classes import ClassList
from participant_kit.labelled.record import check_table_path
from participant_kit.labelled.table import SCHEMA


@dataclass(frozen=True, slots=True)
class LabelledDataset:
    """The rows of a labelled table.

    Args:
        samples: sorted by uid, then label, none twice; their scores are NaN where the table has null.
        sources: what the numbers of ``Candidates.sources`` mean, in words.
    """

    samples: Candidates
    sources: list[str]

    @property
    def scored(self) -> bool:
        """Does any row have a score?"""
        return bool((~np.isnan(self.samples.scores)).any())


def read_dataset(path: Path, classes: ClassList) -> LabelledDataset:
    """Read a labelled table.

    Args:
        path: a ``.parquet`` that a command of ``datacup label`` wrote.
        classes: those that its labels mean.

    Raises:
        DataFormatError: it is damaged, lacks a column, has a row without a label or with one that is no class's, or has
            a sample twice with one label.
        StorageError: it cannot be read.
        UsageError: it is empty.
    """
    table = read_columns(path, SCHEMA.names)
    if not table.num_rows:
        raise UsageError(f"The labelled dataset {path} has no sample.")
    uids = column_uids(table, path)
    codes, names = _encoded(_text(table, "label", path))
    if (codes < 0).any():
        raise DataFormatError(f"The labelled dataset {path} has {int((codes < 0).sum()):,} rows without a label.")
    unknown = [name for name in names if name not in classes.positions]
    if unknown:
        raise DataFormatError(
            f"The labelled dataset {path} has the label {unknown[0]!r}, which is no class's id.",
            hint="--classes is the list that the dataset was made with.",
        )
    labels = np.array([classes.positions[name] for name in names], dtype=np.int32)[codes]
    order = np.lexsort((labels, uids["f1"], uids["f0"]))
    source, sources = _encoded(pc.fill_null(_text(table, "source", path), ""))
    samples = Candidates(uids, labels, _scores(table, path), source.astype(np.int32)).take(order)
    twice = np.flatnonzero((samples.uids[1:] == samples.uids[:-1]) & (samples.labels[1:] == samples.labels[:-1]))
    if len(twice):
        raise DataFormatError(
            f"The labelled dataset {path} has the uid {uids_to_hex(samples.uids[twice[:1]])[0]} twice with one label.",
            hint="Take the dataset from before samples were repeated.",
        )
    return LabelledDataset(samples, sources)


def check_not_input(save_path: Path, table: Path) -> None:
    """Refuse to write a dataset over the one that it is made from, or to a path that is no table's.

    Raises:
        UsageError: says which.
    """
    check_table_path(save_path)
    if save_path.absolute() == table.absolute():
        raise UsageError(f"The save path {save_path} is the dataset that is read.", hint="Name another one.")


def _text(table: Any, column: str, path: Path) -> Any:
    values = table.column(column).combine_chunks()
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise DataFormatError(f"The labelled dataset {path} has {column!r} of type {values.type}, which is no text.")
    return values


def _encoded(values: Any) -> tuple[Any, list[str]]:
    """Position of each value among the different ones, -1 for null; and these, sorted: so it is alike for any order."""
    encoded = pc.dictionary_encode(values)
    names = encoded.dictionary.to_pylist()
    ordered = sorted(names)
    position = {name: place for place, name in enumerate(ordered)}
    places = np.array([position[name] for name in names] or [0], dtype=np.int64)
    codes = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
    return np.where(codes < 0, -1, places[codes]), ordered


def _scores(table: Any, path: Path) -> Any:
    scores = table.column("score")
    if not pa.types.is_floating(scores.type):
        raise DataFormatError(f"The labelled dataset {path} has 'score' of type {scores.type}, which is no number.")
    return np.from_dlpack(scores.cast(pa.float64()).combine_chunks().fill_null(np.nan))
