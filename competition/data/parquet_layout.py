"""Where the pages of a stranger's parquet file lie, and what they will take: known before a single one is decoded.

A reader believes what page headers say: a page of a hundred bytes may promise two gigabytes, a row group may lie where
another one does and be read again and again, an encoding may repeat what came before it. So the footer is bounded
before it is parsed, and every page header is read by this module; what is not plain text in plain pages is refused.
Format: Apache Parquet, "parquet.thrift" and "Encodings.md".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from competition.data.metadata import parquet_errors
from competition.data.thrift_compact import CompactReader, ThriftError
from competition.errors import DataFormatError

MAX_FOOTER_BYTES = 1 << 20
MAX_PAGE_BYTES = 16 << 20
MAX_GROUP_BYTES = 128 << 20
MAX_TABLE_BYTES = 8 << 30
MAX_PAGES = 1 << 16
MAX_GROUPS = 4096

_MAGIC = b"PAR1"
_TAIL = 8
_PAGE_HEADER_BYTES = 1 << 16
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3
_PLAIN, _PLAIN_DICTIONARY, _DELTA_LENGTH, _RLE_DICTIONARY = 0, 2, 6, 8
# Not DELTA_BYTE_ARRAY: each of its values repeats as much of the one before it as it likes.
_OF_DATA = {_PLAIN, _PLAIN_DICTIONARY, _DELTA_LENGTH, _RLE_DICTIONARY}
_OF_DICTIONARIES = {_PLAIN, _PLAIN_DICTIONARY}


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One column of one row group: its pages lie at ``start : stop`` and hold ``values`` values."""

    label: str
    start: int
    stop: int
    values: int


def check_text_table(path: Path, columns: tuple[str, ...], max_rows: int) -> int:
    """The rows of a parquet file that has exactly these columns of text and can be decoded in bounded memory.

    Pages take at most 16 MiB each and 128 MiB a row group once decompressed; messages do not name the file.

    Args:
        path: the file.
        columns: names, in any order.
        max_rows: the most rows that it may have.

    Raises:
        DataFormatError: no parquet, other columns, larger than that, or damaged.
        StorageError: it cannot be read.
    """
    size = path.stat().st_size
    footer = _check_tail(path, size)
    with parquet_errors(path), open_bounded(path) as parquet:
        metadata = parquet.metadata
        _check_columns(metadata.schema, columns)
        if metadata.num_rows > max_rows:
            raise DataFormatError(f"it says that it has {metadata.num_rows} rows; at most {max_rows} are allowed")
        if metadata.num_row_groups > MAX_GROUPS:
            raise DataFormatError(f"it has {metadata.num_row_groups} row groups; at most {MAX_GROUPS} are allowed")
        chunks = _chunks(metadata, size - footer - _TAIL)
    rows = int(metadata.num_rows)
    _check_pages(path, chunks)
    return rows


def open_bounded(path: Path, text: tuple[str, ...] = ()) -> Any:
    """A ``pyarrow.parquet.ParquetFile`` that reads page by page; columns of ``text`` stay dictionaries as stored."""
    return pq.ParquetFile(
        path,
        memory_map=False,
        buffer_size=1 << 20,
        pre_buffer=False,
        read_dictionary=list(text),
        thrift_string_size_limit=MAX_FOOTER_BYTES,
        thrift_container_size_limit=MAX_GROUPS,
        page_checksum_verification=False,
    )


def _check_tail(path: Path, size: int) -> int:
    """The length of the footer, whose place and size are sound."""
    with path.open("rb") as stream:
        head = stream.read(len(_MAGIC))
        stream.seek(max(0, size - _TAIL))
        tail = stream.read(_TAIL)
    if size < 2 * _TAIL or head != _MAGIC or tail[4:] != _MAGIC:
        raise DataFormatError("it is not a parquet file")
    footer = int.from_bytes(tail[:4], "little")
    if footer > MAX_FOOTER_BYTES:
        raise DataFormatError(f"its footer has {footer} bytes; at most {MAX_FOOTER_BYTES} are read")
    if footer > size - len(_MAGIC) - _TAIL:
        raise DataFormatError(f"it promises a footer of {footer} bytes and has {size} bytes")
    return footer


def _check_columns(schema: Any, columns: tuple[str, ...]) -> None:
    if len(schema) > len(columns) or sorted(schema.names) != sorted(columns):
        shown = ", ".join(ascii(name)[:40] for name in schema.names[:8])
        raise DataFormatError(f"its columns are {shown}; they must be {', '.join(columns)}")
    for number in range(len(schema)):
        column = schema.column(number)
        if column.max_repetition_level or column.path != column.name:
            raise DataFormatError(f"its column {column.name} is nested")
        if column.physical_type != "BYTE_ARRAY" or column.logical_type.type != "STRING":
            raise DataFormatError(f"its column {column.name} is no text but {column.physical_type}")


def _chunks(metadata: Any, end: int) -> list[_Chunk]:
    """All column chunks, which lie in the file, apart from one another, and say how many values they have."""
    found: list[_Chunk] = []
    rows = total = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        rows += group.num_rows
        columns = [group.column(place) for place in range(group.num_columns)]
        sizes = [int(column.total_uncompressed_size) for column in columns]
        if min(sizes) < 0 or sum(sizes) > MAX_GROUP_BYTES:
            raise DataFormatError(
                f"its row group {number} has {sum(sizes)} bytes once decompressed; at most {MAX_GROUP_BYTES} are read"
            )
        total += sum(sizes)
        found += [_chunk(column, f"{column.path_in_schema} of row group {number}", group, end) for column in columns]
    if total > MAX_TABLE_BYTES:
        raise DataFormatError(f"it has {total} bytes once decompressed; at most {MAX_TABLE_BYTES} are read")
    if rows != metadata.num_rows:
        raise DataFormatError(f"it says that it has {metadata.num_rows} rows, and its row groups have {rows}")
    for before, after in pairwise(sorted(found, key=lambda chunk: chunk.start)):
        if before.stop > after.start:
            raise DataFormatError(f"{after.label} lies where {before.label} does")
    return found


def _chunk(column: Any, label: str, group: Any, end: int) -> _Chunk:
    start = int(column.data_page_offset)
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
        start = int(column.dictionary_page_offset)
    stop = start + int(column.total_compressed_size)
    if not len(_MAGIC) <= start <= stop <= end:
        raise DataFormatError(f"{label} lies outside of the file")
    if column.num_values != group.num_rows:
        raise DataFormatError(f"{label} has {column.num_values} values for {group.num_rows} rows")
    return _Chunk(label, start, stop, int(column.num_values))


def _check_pages(path: Path, chunks: list[_Chunk]) -> None:
    pages = 0
    with path.open("rb") as stream:
        for chunk in chunks:
            position, values, decompressed = chunk.start, 0, 0
            while position < chunk.stop:
                raw = os.pread(stream.fileno(), min(_PAGE_HEADER_BYTES, chunk.stop - position), position)
                page = _page(raw, chunk, first=position == chunk.start)
                position += page.bytes
                values += page.values
                decompressed += page.decompressed
                pages += 1
                if pages > MAX_PAGES or decompressed > MAX_GROUP_BYTES:
                    raise DataFormatError(f"{chunk.label} has too many pages, or too large ones")
            if position != chunk.stop or values != chunk.values:
                raise DataFormatError(f"the pages of {chunk.label} do not hold what is said of it")


@dataclass(frozen=True, slots=True)
class _Page:
    """Bytes with its header, values (none in a dictionary), and bytes once decompressed."""

    bytes: int
    values: int
    decompressed: int


def _page(raw: bytes, chunk: _Chunk, *, first: bool) -> _Page:
    reader = CompactReader(raw)
    try:
        header = reader.struct()
        kind, decompressed, compressed = (_whole(header, number) for number in (1, 2, 3))
        detail = header.get({_DATA: 5, _DICTIONARY: 7, _DATA_2: 8}.get(kind, 0))
        if not isinstance(detail, dict):
            raise ThriftError(f"it is of the kind {kind}")
        values, encoding = _whole(detail, 1), _whole(detail, 4 if kind == _DATA_2 else 2)
    except ThriftError as error:
        raise DataFormatError(f"a page of {chunk.label} has a malformed header: {error}") from error
    if max(decompressed, compressed) > MAX_PAGE_BYTES:
        raise DataFormatError(
            f"a page of {chunk.label} promises {max(decompressed, compressed)} bytes; at most {MAX_PAGE_BYTES} are read"
        )
    permitted = _OF_DICTIONARIES if kind == _DICTIONARY else _OF_DATA
    if encoding not in permitted:
        raise DataFormatError(f"a page of {chunk.label} has the encoding {encoding}, which is not read")
    if kind == _DICTIONARY:
        if not first or values > decompressed // 4:
            raise DataFormatError(f"{chunk.label} has a dictionary that cannot be")
        values = 0
    return _Page(reader.position + compressed, values, decompressed)


def _whole(fields: dict[int, Any], number: int) -> int:
    value = fields.get(number)
    if type(value) is not int or value < 0:
        raise ThriftError(f"field {number} is no count")
    return value
