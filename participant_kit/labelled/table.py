"""A labelled dataset on the disk: a parquet table of uid, label, score and source, one row a sample, sorted by uid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.data.metadata import column_uids, read_columns
from competition.data.uids import UidArray
from competition.errors import DataFormatError, UsageError

SCHEMA = pa.schema([("uid", pa.string()), ("label", pa.string()), ("score", pa.float32()), ("source", pa.string())])
"""``label`` is a class id, ``score`` is null where a strategy has none, ``source`` says what led to it."""

SEPARATORS = {".csv": ",", ".tsv": "\t"}
"""Of tables that are text, by suffix."""


def label_tables(paths: Sequence[Path]) -> list[Path]:
    """Tables of labels, those of folders in sorted order.

    Raises:
        UsageError: a path does not exist, a folder has none, or two have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"There are no labels {path}.")
        suffixes = {".parquet", *SEPARATORS}
        inside = sorted(each for each in path.iterdir() if each.suffix in suffixes) if path.is_dir() else [path]
        if not inside:
            raise UsageError(f"The folder {path} has no table.", hint="Tables are .parquet, .csv or .tsv files.")
        for each in inside:
            if each.name in found:
                raise UsageError(f"Two tables have the name {each.name}.", hint="Rename one of them.")
            found[each.name] = each
    return [found[name] for name in sorted(found)]


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """Uids and labels of a table's rows.

    Args:
        uids: shape (rows,).
        labels: the different labels.
        codes: int64, shape (rows,): positions in ``labels``, -1 where a label is null or empty.
        confidences: float64, shape (rows,), NaN where null; all 0 where none are asked for.
    """

    uids: UidArray
    labels: list[str]
    codes: NDArray[np.int64]
    confidences: NDArray[np.float64]


def read_labels(path: Path, confidence: str | None = None) -> LabelColumns:
    """The columns ``uid`` and ``label`` of a table, and one of confidences if named.

    Args:
        path: parquet, or ``.csv`` or ``.tsv`` with a line of column names.
        confidence: name of a column of numbers.

    Raises:
        DataFormatError: it is malformed, lacks a column or has it of another type, or a uid is malformed.
        StorageError: it cannot be read.
    """
    names = ["uid", "label", *([confidence] if confidence else [])]
    table = _read_text_table(path, names) if path.suffix in SEPARATORS else read_columns(path, names)
    labels: Any = table.column("label").combine_chunks()
    if pa.types.is_integer(labels.type) or pa.types.is_dictionary(labels.type):
        labels = labels.cast(pa.string())
    if not (pa.types.is_string(labels.type) or pa.types.is_large_string(labels.type)):
        raise DataFormatError(f"The table {path} has labels of type {labels.type}, not text or whole numbers.")
    encoded = pc.dictionary_encode(pc.if_else(pc.equal(labels, ""), None, labels))
    codes = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
    uids = column_uids(table, path)
    confidences = np.zeros(len(uids)) if confidence is None else _numbers(table.column(confidence), confidence, path)
    return LabelColumns(uids, encoded.dictionary.to_pylist(), codes, confidences)


def _numbers(column: Any, name: str, path: Path) -> NDArray[np.float64]:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise DataFormatError(f"The table {path} has {name!r} of type {column.type}, which is no number.")
    values: NDArray[np.float64] = column.cast(pa.float64()).combine_chunks().fill_null(np.nan).to_numpy()
    return values


def _read_text_table(path: Path, names: list[str]) -> Any:
    from pyarrow import csv

    with storage_errors("reading", path):
        data = path.read_bytes()
    text = {name: pa.string() for name in names[:2]}
    # Only what is empty is missing: "null" and "NA" are labels like others.
    convert = csv.ConvertOptions(column_types=text, include_columns=names, null_values=[""], strings_can_be_null=True)
    try:
        return csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(delimiter=SEPARATORS[path.suffix]),
            convert_options=convert,
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        reason = str(error).splitlines()[0].strip("'\"").rstrip(".")
        raise DataFormatError(
            f"The table {path} is malformed: {reason}.", hint=f"Its first line names the columns: {', '.join(names)}."
        ) from error
