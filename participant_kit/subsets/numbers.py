"""Numbers of any metadata columns, those among them that a pool's owner added."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from competition.data.metadata import column_uids, read_columns
from competition.data.uids import UidArray
from competition.errors import DataFormatError


def read_numbers(path: Path, columns: Sequence[str]) -> tuple[UidArray, list[NDArray[np.float64]]]:
    """The uids of one metadata file, and some columns of integers or floats, each of shape (rows,); NaN where a value
    is missing.

    Raises:
        DataFormatError: the file is damaged, lacks a column, or has one that is no number.
        StorageError: it cannot be read.
    """
    table = read_columns(path, ["uid", *columns])
    return column_uids(table, path), [_numbers(table.column(column), column, path) for column in columns]


def _numbers(values: Any, column: str, path: Path) -> NDArray[np.float64]:
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise DataFormatError(
            f"Metadata file {path} has column {column!r} of type {values.type}, which is no number to rank by.",
            hint="Choose a score or a size, for instance clip_l14_similarity_score.",
        )
    wide = values.cast(pa.float64(), safe=False).combine_chunks().fill_null(np.nan)
    numbers: NDArray[Any] = np.from_dlpack(wide)  # `to_numpy` would import pandas
    return numbers
