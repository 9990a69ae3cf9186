"""Pool metadata as DataComp lays it out: ``<32 hex>.parquet`` files, each with an optional ``.npz`` of the same stem.

Row *i* of a parquet file and row *i* of every array in its npz are the same sample. The npz members are stored
uncompressed, so that one of them can be read without the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from competition.data.atomic import atomic_writer, make_folder, storage_error, storage_errors
from competition.data.npz import open_member
from competition.data.uids import UID_DIGITS, UID_DTYPE, UidArray, parse_uids, sort_uids, uids_from_digits
from competition.errors import DataFormatError

SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("url", pa.string()),
        ("text", pa.string()),
        ("original_width", pa.int64()),
        ("original_height", pa.int64()),
        ("clip_b32_similarity_score", pa.float32()),
        ("clip_l14_similarity_score", pa.float32()),
        ("face_bboxes", pa.list_(pa.list_(pa.float64()))),
        ("sha256", pa.string()),
    ]
)
"""DataComp's columns. Boxes are ``[x0, y0, x1, y1]`` in [0, 1]; sizes are pixels before any resize."""

FEATURE_MEMBERS = ("b32_img", "b32_txt", "l14_img", "l14_txt", "dedup")
"""Members of an npz: the first four are L2-normalised float16 rows, ``dedup`` is a copy-detection descriptor."""

EXTRAS_FOLDER = "extras"
"""Folder of a metadata folder whose files, of the same names, hold what DataComp has no column for."""

BATCH_ROWS = 1 << 16
"""Rows in memory at a time where a file is read batch by batch."""

_STEM = re.compile(r"[0-9a-f]{32}")


def list_metadata(directory: Path) -> list[Path]:
    """The parquet files of a metadata folder in sorted order.

    Raises:
        DataFormatError: the folder has none.
        StorageError: there is no such folder.
    """
    with storage_errors("listing the metadata folder", directory):
        paths = sorted(
            path for path in directory.iterdir() if path.suffix == ".parquet" and not path.name.startswith(".")
        )
    if not paths:
        raise DataFormatError(
            f"The metadata folder {directory} holds no parquet file.",
            hint="Point to the `metadata` folder of a pool, as `datacup pool build` makes it.",
        )
    return paths


def row_count(path: Path) -> int:
    """Rows of one parquet file, from its footer alone."""
    with parquet_errors(path), pq.ParquetFile(path) as parquet:
        return int(parquet.metadata.num_rows)


def column_types(path: Path) -> Any:
    """Names and types of the columns of one parquet file, a ``pyarrow.Schema``, from its footer alone."""
    with parquet_errors(path), pq.ParquetFile(path) as parquet:
        return parquet.schema_arrow


def column_bytes(path: Path) -> dict[str, int]:
    """Compressed bytes of each column of one parquet file (of all its parts, if nested), from its footer alone."""
    sizes: dict[str, int] = {}
    with parquet_errors(path), pq.ParquetFile(path) as parquet:
        footer = parquet.metadata
        for group in range(footer.num_row_groups):
            for number in range(footer.num_columns):
                chunk = footer.row_group(group).column(number)
                name = chunk.path_in_schema.partition(".")[0]
                sizes[name] = sizes.get(name, 0) + int(chunk.total_compressed_size)
    return sizes


def check_single(path: Path, columns: Any, column: str) -> None:
    """Refuse a column that a file's ``pyarrow.Schema`` has more than once.

    Raises:
        DataFormatError: it has.
    """
    if columns.names.count(column) > 1:
        raise DataFormatError(f"Metadata file {path} has several columns {column!r}.")


def read_columns(path: Path, columns: Sequence[str]) -> Any:
    """The named columns of one parquet file as a ``pyarrow.Table``, each checked against DataComp's type.

    Raises:
        DataFormatError: the file is not parquet, lacks a column, or has it with another type.
        StorageError: it cannot be read.
    """
    with parquet_errors(path), pq.ParquetFile(path, memory_map=True) as parquet:
        _check_columns(path, parquet.schema_arrow, columns)
        return parquet.read(columns=list(columns))


def read_batches(path: Path, columns: Sequence[str], rows: int = BATCH_ROWS) -> Iterator[Any]:
    """The named columns of one parquet file as tables of at most ``rows`` rows, one in memory at a time.

    Raises what ``read_columns`` raises.
    """
    with parquet_errors(path), pq.ParquetFile(path, memory_map=True) as parquet:
        _check_columns(path, parquet.schema_arrow, columns)
        for batch in parquet.iter_batches(batch_size=rows, columns=list(columns), use_threads=False):
            yield pa.Table.from_batches([batch])


def _check_columns(path: Path, present: Any, columns: Sequence[str]) -> None:
    for column in columns:
        if column not in present.names:
            raise DataFormatError(
                f"Metadata file {path} has no column {column!r}.", hint=f"It has: {', '.join(present.names)}."
            )
        check_single(path, present, column)
        _check_type(path, present.field(column))


def read_uids(path: Path) -> UidArray:
    """The uids of one parquet file in row order."""
    return column_uids(read_columns(path, ["uid"]), path)


def column_uids(table: Any, path: Path) -> UidArray:
    """The ``uid`` column of a table read from ``path``, parsed from Arrow's buffers without Python strings.

    Raises:
        DataFormatError: a uid is missing or malformed; the message says in which row.
    """
    column = table.column("uid")
    if column.null_count:
        raise DataFormatError(f"Metadata file {path} has {column.null_count} rows without a uid.")
    parts: list[UidArray] = []
    for chunk in column.chunks:
        try:
            parts.append(_chunk_uids(chunk))
        except DataFormatError as error:
            raise DataFormatError(f"Metadata file {path}: {error.message}", hint=error.hint) from error
        except UnicodeDecodeError as error:
            raise DataFormatError(f"Metadata file {path}: a uid is no text.", hint="Uids are 32 hex digits.") from error
    return np.concatenate(parts) if parts else np.zeros(0, dtype=UID_DTYPE)


def column_floats(table: Any, column: str) -> NDArray[np.float32]:
    """A float32 column as an array, read-only where it is Arrow's own memory; a missing value is NaN."""
    values = table.column(column).combine_chunks()
    if values.null_count:
        values = values.fill_null(np.nan)
    # Arrow's `to_numpy` would import pandas, which takes longer than reading a million scores.
    floats: NDArray[Any] = np.from_dlpack(values)
    return floats


def pool_uids(directory: Path) -> UidArray:
    """All uids of a metadata folder, sorted; a uid on several rows occurs as often."""
    return sort_uids(np.concatenate([read_uids(path) for path in list_metadata(directory)]))


def features_path(path: Path) -> Path:
    """The npz that belongs to a parquet file."""
    return path.with_suffix(".npz")


def read_feature(path: Path, member: str, *, rows: int | None = None) -> NDArray[Any]:
    """One array of the npz beside the parquet file ``path``, read-only: a memory map where the member is stored
    uncompressed, as DataComp stores it, so that only the rows that are used are read. Never a pickle.

    Args:
        path: the parquet file.
        member: for instance ``l14_img``: shape (rows, dimensions), usually float16.
        rows: rows that the parquet file has; read from its footer when absent.

    Raises:
        DataFormatError: no npz, no such member, or not one row for each row of the parquet file.
    """
    archive = features_path(path)
    if not archive.exists():
        raise DataFormatError(
            f"Metadata file {path} has no features: {archive.name} is absent.",
            hint="Get the pool's npz files too, or choose a strategy that needs no features.",
        )
    expected = row_count(path) if rows is None else rows
    array = open_member(archive, member)
    if array.ndim != 2 or len(array) != expected:
        raise DataFormatError(
            f"Feature file {archive} has {member!r} of shape {array.shape} for {expected} rows of {path.name}.",
            hint="Both files of a stem must come from the same download.",
        )
    return array


def write_metadata(
    directory: Path, stem: str, rows: Mapping[str, Sequence[Any]], features: Mapping[str, NDArray[Any]] | None = None
) -> Path:
    """Write ``<stem>.parquet`` and, with features, ``<stem>.npz`` in DataComp's exact layout; returns the parquet path.

    The same content always gives the same bytes. The npz comes first, so a parquet file never stands without it.

    Args:
        directory: created when absent.
        stem: 32 lowercase hex digits.
        rows: one sequence for each column of ``SCHEMA``, all of one length.
        features: member name to array of shape (rows, dimensions); floating CLIP features are stored as float16.

    Raises:
        DataFormatError: columns are missing, unknown, of wrong type or of unequal length.
        StorageError: the disk is full or the folder cannot be written.
    """
    if not _STEM.fullmatch(stem):
        raise DataFormatError(f"The metadata stem {stem!r} is not 32 lowercase hex digits.")
    if set(rows) != set(SCHEMA.names):
        raise DataFormatError(f"Metadata needs exactly the columns {', '.join(SCHEMA.names)}; got {', '.join(rows)}.")
    try:
        table = pa.table({name: rows[name] for name in SCHEMA.names}, schema=SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataFormatError(f"The metadata rows of {stem} do not fit DataComp's columns: {error}.") from error
    parse_uids(rows["uid"])
    make_folder(directory)
    path = directory / f"{stem}.parquet"
    if features is not None:
        _write_features(features_path(path), features, table.num_rows)
    with atomic_writer(path) as stream:
        pq.write_table(table, stream)
    return path


def _write_features(path: Path, features: Mapping[str, NDArray[Any]], rows: int) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    for name, array in features.items():
        if array.ndim != 2 or len(array) != rows:
            raise DataFormatError(f"Feature {name!r} has shape {array.shape} for {rows} metadata rows.")
        arrays[name] = array if name == "dedup" else array.astype(np.float16)
    with atomic_writer(path) as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _chunk_uids(chunk: Any) -> UidArray:
    """Uids of one Arrow string chunk; 32-digit uids, the normal case, are one contiguous block of digits."""
    offset_type = np.int64 if pa.types.is_large_string(chunk.type) else np.int32
    _, offset_buffer, data = chunk.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=offset_type)[chunk.offset : chunk.offset + len(chunk) + 1]
    if not len(chunk) or data is None or (np.diff(offsets) != UID_DIGITS).any():
        return parse_uids(chunk.to_pylist())
    digits = np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]]
    return uids_from_digits(digits.reshape(-1, UID_DIGITS))


def _check_type(path: Path, field: Any) -> None:
    """Refuse a column of another kind; integer width and list item precision may differ between publications."""
    types = pa.types
    expected = SCHEMA.field(field.name).type if field.name in SCHEMA.names else field.type
    same_kind = (
        (types.is_string(expected) and (types.is_string(field.type) or types.is_large_string(field.type)))
        or (types.is_integer(expected) and types.is_integer(field.type))
        or (types.is_list(expected) and types.is_list(field.type))
    )
    if not same_kind and not field.type.equals(expected):
        raise DataFormatError(
            f"Metadata file {path} has column {field.name!r} of type {field.type} instead of {expected}."
        )


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Say pyarrow's and the operating system's failures as errors that name the file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise storage_error(error, "reading", path) from error
        raise _damaged(path, error) from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataFormatError:
    reason = str(error).splitlines()[0].rstrip(".")
    return DataFormatError(f"Metadata file {path} is damaged or is not parquet: {reason}.")
