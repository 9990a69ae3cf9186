"""Where the pages of a stranger's parquet file lie, and what they will take: known before a single one is decoded.

A reader believes what a file says of itself: a page of a hundred bytes may promise two gigabytes, a row group may lie
where another one does and be read again and again, an encoding may repeat what came before it, and some footers end the
whole process. So the footer is bounded and parsed here, and so is every page header; what is not plain text in plain
pages is refused. The library that decodes the pages is shown a footer that is written here and says only what was
found.
Format: Apache Parquet, "parquet.thrift" and "Encodings.md".
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from competition.data.atomic import storage_errors
from competition.data.thrift_compact import BINARY, I32, I64, LIST, STRUCT, CompactReader, Field, ThriftError, encode
from competition.errors import DataFormatError

MAX_FOOTER_BYTES = 1 << 19
MAX_FOOTER_VALUES = 200_000
MAX_PAGE_BYTES = 16 << 20
MAX_GROUP_BYTES = 128 << 20
MAX_TABLE_BYTES = 8 << 30
MAX_PAGES = 1 << 16
MAX_GROUPS = 4096

_MAGIC = b"PAR1"
_TAIL = 8
_PAGE_HEADER_BYTES = 1 << 16
_TEXT, _UTF8, _STRING = 6, 0, 1
_CODECS = {0, 1, 2, 4, 6, 7}
"""None, snappy, gzip, brotli, zstd and raw lz4."""
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3
_PLAIN, _PLAIN_DICTIONARY, _DELTA_LENGTH, _RLE_DICTIONARY = 0, 2, 6, 8
# Not DELTA_BYTE_ARRAY: each of its values repeats as much of the one before it as it likes.
_OF_DATA = {_PLAIN, _PLAIN_DICTIONARY, _DELTA_LENGTH, _RLE_DICTIONARY}
_OF_DICTIONARIES = {_PLAIN, _PLAIN_DICTIONARY}


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column of one row group: its pages lie at ``start : stop`` and hold ``values`` values.

    ``dictionary`` are the bytes of its first page, when that is a dictionary.
    """

    label: str
    start: int
    stop: int
    values: int
    codec: int
    decompressed: int
    dictionary: int = 0


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of columns of text.

    ``optional`` says of each column whether values may be missing; ``chunks`` are each column's, one a row group.
    """

    rows: int
    optional: dict[str, bool]
    chunks: dict[str, list[Chunk]]


def text_table(path: Path, columns: tuple[str, ...], max_rows: int) -> TextTable:
    """The layout of a parquet file that has exactly these columns of text and can be decoded in bounded memory.

    Pages take at most 16 MiB each and 128 MiB a row group once decompressed; messages do not name the file.

    Args:
        path: the file.
        columns: names, in any order.
        max_rows: the most rows that it may have.

    Raises:
        DataFormatError: no parquet, other columns, larger than that, or damaged.
        StorageError: it cannot be read.
    """
    with storage_errors("reading", path), path.open("rb") as stream:
        size = path.stat().st_size
        raw = _footer(stream, size)
        end = size - len(raw) - _TAIL
        with _malformed("its footer"):
            footer = CompactReader(raw, most=MAX_FOOTER_VALUES).struct()
            optional = _columns(_items(footer, 2), columns)
            rows, groups = _whole(footer, 3), _items(footer, 4)
            if rows > max_rows:
                raise DataFormatError(f"it says that it has {rows} rows; at most {max_rows} are allowed")
            if len(groups) > MAX_GROUPS:
                raise DataFormatError(f"it has {len(groups)} row groups; at most {MAX_GROUPS} are allowed")
            chunks = _chunks(groups, list(optional), end)
            if sum(chunk.values for chunk in chunks[columns[0]]) != rows:
                raise DataFormatError(f"it says that it has {rows} rows, and its row groups have others")
        pages = 0
        walked: dict[str, list[Chunk]] = {}
        for name, of_column in chunks.items():
            walked[name] = []
            for chunk in of_column:
                whole, count = _walked(stream.fileno(), chunk)
                walked[name].append(whole)
                pages += count
                if pages > MAX_PAGES:
                    raise DataFormatError(f"it has more than {MAX_PAGES} pages")
    return TextTable(rows, optional, walked)


class ColumnFile(io.RawIOBase):
    """A parquet file of one column of a table: the pages where they lie, and a footer that is written here."""

    def __init__(self, path: Path, table: TextTable, column: str) -> None:
        super().__init__()
        chunks = table.chunks[column]
        self._data = os.open(path, os.O_RDONLY)
        self._end = max((chunk.stop for chunk in chunks), default=len(_MAGIC))
        footer = _written_footer(column, chunks, optional=table.optional[column])
        self._tail = footer + len(footer).to_bytes(4, "little") + _MAGIC
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As every file's."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end + len(self._tail)}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """As every file's."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """As every file's: fewer bytes where pages end and the footer begins."""
        if self._position < self._end:
            found = os.pread(self._data, min(len(buffer), self._end - self._position), self._position)
        else:
            start = self._position - self._end
            found = self._tail[start : start + len(buffer)]
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def close(self) -> None:
        """As every file's."""
        if not self.closed:
            os.close(self._data)
        super().close()


def _written_footer(column: str, chunks: list[Chunk], *, optional: bool) -> bytes:
    name = column.encode()
    schema: list[list[Field]] = [
        [(4, BINARY, b"schema"), (5, I32, 1)],
        [(1, I32, _TEXT), (3, I32, int(optional)), (4, BINARY, name), (6, I32, _UTF8)],
    ]
    groups = []
    for chunk in chunks:
        meta: list[Field] = [
            (1, I32, _TEXT),
            (2, LIST, (I32, [_PLAIN])),
            (3, LIST, (BINARY, [name])),
            (4, I32, chunk.codec),
            (5, I64, chunk.values),
            (6, I64, chunk.decompressed),
            (7, I64, chunk.stop - chunk.start),
            (9, I64, chunk.start + chunk.dictionary),
        ]
        if chunk.dictionary:
            meta.append((11, I64, chunk.start))
        of_column: list[Field] = [(2, I64, chunk.start), (3, STRUCT, meta)]
        groups.append([(1, LIST, (STRUCT, [of_column])), (2, I64, chunk.decompressed), (3, I64, chunk.values)])
    rows = sum(chunk.values for chunk in chunks)
    return encode([(1, I32, 1), (2, LIST, (STRUCT, schema)), (3, I64, rows), (4, LIST, (STRUCT, groups))])


def _footer(stream: Any, size: int) -> bytes:
    """The footer, whose place and size are sound."""
    head = stream.read(len(_MAGIC))
    stream.seek(max(0, size - _TAIL))
    tail = stream.read(_TAIL)
    if size < 2 * _TAIL or head != _MAGIC or tail[4:] != _MAGIC:
        raise DataFormatError("it is not a parquet file")
    length = int.from_bytes(tail[:4], "little")
    if length > MAX_FOOTER_BYTES:
        raise DataFormatError(f"its footer has {length} bytes; at most {MAX_FOOTER_BYTES} are read")
    if length > size - len(_MAGIC) - _TAIL:
        raise DataFormatError(f"it promises a footer of {length} bytes and has {size} bytes")
    stream.seek(size - _TAIL - length)
    found: bytes = stream.read(length)
    return found


def _columns(schema: list[Any], columns: tuple[str, ...]) -> dict[str, bool]:
    """Of each column in the file's order whether its values may be missing."""
    elements = [element for element in schema if isinstance(element, dict)]
    names = [bytes(element.get(4, b"")).decode("utf-8", errors="replace") for element in elements[1:]]
    if sorted(names) != sorted(columns) or any(element.get(5) for element in elements[1:]):
        shown = ", ".join(ascii(name)[:40] for name in names[:8])
        raise DataFormatError(f"its columns are {shown}; they must be {', '.join(columns)}, none of them nested")
    optional: dict[str, bool] = {}
    for name, element in zip(names, elements[1:], strict=True):
        logical = element.get(10)
        text = element.get(6) == _UTF8 or (isinstance(logical, dict) and _STRING in logical)
        if element.get(1) != _TEXT or not text:
            raise DataFormatError(f"its column {name} is no text")
        if element.get(3) not in {0, 1}:
            raise DataFormatError(f"its column {name} is nested")
        optional[name] = element[3] == 1
    return optional


def _chunks(groups: list[Any], columns: list[str], end: int) -> dict[str, list[Chunk]]:
    """All column chunks, which lie in the file, apart from one another, and say how many values they have."""
    found: dict[str, list[Chunk]] = {name: [] for name in columns}
    total = 0
    for number, group in enumerate(groups):
        of_group, rows = _items(group, 1), _whole(group, 3)
        if len(of_group) != len(columns):
            raise DataFormatError(f"its row group {number} has {len(of_group)} columns")
        made = [
            _chunk(column, name, f"{name} of row group {number}", rows, end)
            for name, column in zip(columns, of_group, strict=True)
        ]
        size = sum(max(chunk.decompressed, chunk.stop - chunk.start) for chunk in made)
        total += size
        if size > MAX_GROUP_BYTES or total > MAX_TABLE_BYTES:
            raise DataFormatError(
                f"its row group {number} has {size} bytes; at most {MAX_GROUP_BYTES} are read of one, and "
                f"{MAX_TABLE_BYTES} of all"
            )
        for chunk, name in zip(made, columns, strict=True):
            found[name].append(chunk)
    every = sorted((chunk for chunks in found.values() for chunk in chunks), key=lambda chunk: chunk.start)
    for before, after in pairwise(every):
        if before.stop > after.start:
            raise DataFormatError(f"{after.label} lies where {before.label} does")
    return found


def _chunk(column: Any, name: str, label: str, rows: int, end: int) -> Chunk:
    meta = column.get(3) if isinstance(column, dict) else None
    if not isinstance(meta, dict) or {1, 8, 9}.intersection(column):
        raise DataFormatError(f"{label} is said to lie in another file, or is encrypted")
    if meta.get(3) != [name.encode()] or meta.get(1) != _TEXT or meta.get(4) not in _CODECS:
        raise DataFormatError(f"{label} is another column, or compressed in a way that is not read")
    start, stop = _whole(meta, 9), _whole(meta, 7)
    if 0 < meta.get(11, 0) < start:
        start = _whole(meta, 11)
    stop += start
    if not len(_MAGIC) <= start <= stop <= end:
        raise DataFormatError(f"{label} lies outside of the file")
    values = _whole(meta, 5)
    if values != rows:
        raise DataFormatError(f"{label} has {values} values for {rows} rows")
    return Chunk(label, start, stop, values, _whole(meta, 4), _whole(meta, 6))


def _walked(descriptor: int, chunk: Chunk) -> tuple[Chunk, int]:
    """The chunk, known by its pages, and how many these are."""
    position, values, decompressed, pages, dictionary = chunk.start, 0, 0, 0, 0
    while position < chunk.stop:
        raw = os.pread(descriptor, min(_PAGE_HEADER_BYTES, chunk.stop - position), position)
        with _malformed(f"a page of {chunk.label}"):
            page = _page(raw, chunk, first=position == chunk.start)
        dictionary = page.bytes if page.dictionary else dictionary
        position += page.bytes
        values += page.values
        decompressed += page.decompressed
        pages += 1
        if pages > MAX_PAGES or decompressed > MAX_GROUP_BYTES:
            raise DataFormatError(f"{chunk.label} has too many pages, or too large ones")
    if position != chunk.stop or values != chunk.values:
        raise DataFormatError(f"the pages of {chunk.label} do not hold what is said of it")
    found = Chunk(chunk.label, chunk.start, chunk.stop, values, chunk.codec, chunk.decompressed, dictionary)
    return found, pages


@dataclass(frozen=True, slots=True)
class _Page:
    """Bytes with its header, values (none in a dictionary), and bytes once decompressed."""

    bytes: int
    values: int
    decompressed: int
    dictionary: bool


def _page(raw: bytes, chunk: Chunk, *, first: bool) -> _Page:
    reader = CompactReader(raw)
    header = reader.struct()
    kind, decompressed, compressed = (_whole(header, number) for number in (1, 2, 3))
    detail = header.get({_DATA: 5, _DICTIONARY: 7, _DATA_2: 8}.get(kind, 0))
    if not isinstance(detail, dict):
        raise ThriftError(f"it is of the kind {kind}")
    values, encoding = _whole(detail, 1), _whole(detail, 4 if kind == _DATA_2 else 2)
    if max(decompressed, compressed) > MAX_PAGE_BYTES:
        raise DataFormatError(
            f"a page of {chunk.label} promises {max(decompressed, compressed)} bytes; at most {MAX_PAGE_BYTES} are read"
        )
    is_dictionary = kind == _DICTIONARY
    if encoding not in (_OF_DICTIONARIES if is_dictionary else _OF_DATA):
        raise DataFormatError(f"a page of {chunk.label} has the encoding {encoding}, which is not read")
    if is_dictionary and (not first or values > decompressed // 4):
        raise DataFormatError(f"{chunk.label} has a dictionary that cannot be")
    return _Page(reader.position + compressed, 0 if is_dictionary else values, decompressed, is_dictionary)


def _whole(fields: Any, number: int) -> int:
    found = fields.get(number) if isinstance(fields, dict) else None
    if type(found) is not int or found < 0:
        raise ThriftError(f"field {number} is no count")
    return found


def _items(fields: Any, number: int) -> list[Any]:
    found = fields.get(number, []) if isinstance(fields, dict) else None
    if not isinstance(found, list):
        raise ThriftError(f"field {number} is no list")
    return found


@contextmanager
def _malformed(what: str) -> Iterator[None]:
    try:
        yield
    except (ThriftError, TypeError, ValueError) as error:
        raise DataFormatError(f"{what} is malformed: {error}") from error
