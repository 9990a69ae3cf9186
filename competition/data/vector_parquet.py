"""Vectors in a column of a parquet file: lists of floats, all of one length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import column_types, parquet_errors, row_count
from competition.errors import DataFormatError

DIGEST_KEY = "weights_sha256"
"""In the file's own key-value metadata: sha256 of the weights that made the vectors."""


def vector_columns(path: Path) -> list[str]:
    """The columns that are lists of floats."""
    return [field.name for field in column_types(path) if _is_vector(field.type)]


def vector_shape(path: Path, column: str) -> tuple[int, int]:
    """Rows and dimensions; lists of any length have that of the first row."""
    rows, kind = row_count(path), column_types(path).field(column).type
    if hasattr(kind, "list_size") and kind.list_size > 0:
        return rows, int(kind.list_size)
    first = next(iter(_lists(path, column, 1)), None)
    return rows, 0 if first is None or first[0].as_py() is None else len(first[0])


def recorded_model(path: Path) -> str | None:
    """Digest of the model's weights, where the file says it."""
    digest = (column_types(path).metadata or {}).get(DIGEST_KEY.encode())
    return digest.decode() if digest else None


def parquet_blocks(path: Path, column: str, dimensions: int, rows: int) -> Iterator[NDArray[np.float32]]:
    """Blocks of shape (at most ``rows``, dimensions); a row that is null, or has a null, holds NaN.

    Raises:
        DataFormatError: the file is damaged, or a row has another length.
        StorageError: it cannot be read.
    """
    at = 0
    for lists in _lists(path, column, rows):
        yield _vectors(lists, f"{path.name}:{column}", dimensions, at)
        at += len(lists)


def parquet_rows(path: Path, column: str, dimensions: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vectors of these rows, ascending: only the row groups that have any are read."""
    import pyarrow.parquet as pq

    found = [np.zeros((0, dimensions), dtype=np.float32)]
    with parquet_errors(path), pq.ParquetFile(path, memory_map=True) as parquet:
        start = 0
        for group in range(parquet.metadata.num_row_groups):
            end = start + parquet.metadata.row_group(group).num_rows
            here = rows[(rows >= start) & (rows < end)] - start
            if len(here):
                lists = parquet.read_row_group(group, columns=[column]).column(0).combine_chunks().take(here)
                found.append(_vectors(_plain(lists), f"{path.name}:{column}", dimensions, start))
            start = end
    return np.concatenate(found)


def _vectors(lists: Any, name: str, dimensions: int, at: int) -> NDArray[np.float32]:
    block = np.full((len(lists), dimensions), np.nan, dtype=np.float32)
    present = lists.is_valid().to_numpy(zero_copy_only=False)
    lengths = lists.value_lengths().drop_null().to_numpy(zero_copy_only=False)
    if (lengths != dimensions).any():
        wrong = at + int(np.flatnonzero(present)[np.flatnonzero(lengths != dimensions)[0]])
        raise DataFormatError(
            f"Row {wrong} of {name} is no vector of {dimensions} dimensions.",
            hint="All vectors of a column must come from one model.",
        )
    values = lists.flatten().to_numpy(zero_copy_only=False)  # null rows are left out
    block[present] = values.astype(np.float32).reshape(-1, dimensions)
    return block


def _lists(path: Path, column: str, rows: int) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with parquet_errors(path), pq.ParquetFile(path, memory_map=True) as parquet:
        for batch in parquet.iter_batches(batch_size=rows, columns=[column]):
            yield _plain(batch.column(0))


def _plain(lists: Any) -> Any:
    """Lists of a fixed length as those of any."""
    import pyarrow as pa

    return lists.cast(pa.list_(lists.type.value_type)) if pa.types.is_fixed_size_list(lists.type) else lists


def _is_vector(kind: Any) -> bool:
    import pyarrow as pa

    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_list(kind) for is_list in lists) and pa.types.is_floating(kind.value_type)
