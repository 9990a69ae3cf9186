"""Tables of external data: parquet of ``url``, ``caption``, ``sha256`` (of the image as downloaded) and ``licence``."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from competition.data.parquet_layout import ColumnFile, TextTable, text_table
from competition.errors import DataFormatError, RejectionError, RejectionReason

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("url", "caption", "sha256", "licence")
_ROWS = 1 << 18
_DIGESTS = 1 << 12
_BUFFER = 1 << 20
_LONGEST = {"url": 4096, "caption": 8192, "sha256": 64, "licence": 200}
"""Bytes of a text in UTF-8."""
_PATTERNS = {
    "url": (r"^(?i:https?)://[^\x00-\x20\x7f<>\"]+$", "no address that begins with http:// or https://"),
    "caption": (r"^[^\x00]*$", "no text: it has a zero character"),
    "sha256": (r"^[0-9a-f]{64}$", "not 64 lower-case hex digits"),
    "licence": (r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$", "empty, or has control characters"),
}


def check_table(path: Path, name: str, max_rows: int) -> int:
    """Check a table, which messages call ``name``, row group by row group; returns its rows.

    Raises:
        RejectionError: no parquet of four columns of text, too large once decompressed, or a text that may not be.
    """
    table = _layout(path, name, max_rows)
    for column in COLUMNS:
        for texts in _column(path, name, table, column):
            _check_texts(texts, column, name)
    return table.rows


def read_digests(path: Path, name: str) -> Iterator[list[str]]:
    """The column ``sha256`` of a table that was found sound, some thousands of rows at a time."""
    for texts in _column(path, name, _layout(path, name, sys.maxsize), "sha256"):
        for start in range(0, len(texts), _DIGESTS):
            yield texts.slice(start, _DIGESTS).to_pylist()


def _layout(path: Path, name: str, max_rows: int) -> TextTable:
    try:
        return text_table(path, COLUMNS, max_rows)
    except DataFormatError as error:
        raise _malformed(name, error.message) from error


def _column(path: Path, name: str, table: TextTable, column: str) -> Iterator[pa.Array]:
    """A column in large pieces: each piece of a column brings its whole dictionary along, which is checked again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    read = 0
    try:
        with (
            io.BufferedReader(ColumnFile(path, table, column), _BUFFER) as file,
            pq.ParquetFile(file, read_dictionary=[column], buffer_size=_BUFFER) as parquet,
        ):
            for group in range(len(table.chunks[column])):
                for batch in parquet.iter_batches(_ROWS, [group], use_threads=False):
                    read += batch.num_rows
                    yield batch.column(0)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _malformed(name, f"its column {column} cannot be decoded ({error})") from error
    if read != table.rows:
        raise _malformed(name, f"{read} of its {table.rows} rows can be read")


def _check_texts(texts: pa.Array, column: str, name: str) -> None:
    """Of a dictionary its values are looked at, each once, however often rows refer to it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = texts.dictionary if isinstance(texts, pa.DictionaryArray) else texts
    try:
        values.validate(full=True)
    except pa.ArrowException as error:
        raise _wrong(name, column, "no UTF-8") from error
    try:
        texts.validate(full=True)  # references to no value of the dictionary, which pyarrow does not look for
    except pa.ArrowException as error:
        raise _malformed(name, f"its column {column} cannot be decoded") from error
    if texts.null_count or values.null_count:
        raise _wrong(name, column, "missing")
    if not len(values):
        return
    longest = pc.max(pc.binary_length(values)).as_py()
    if longest > _LONGEST[column]:
        raise _wrong(name, column, f"of {longest} bytes; at most {_LONGEST[column]} are allowed")
    pattern, problem = _PATTERNS[column]
    fits: Any = pc.match_substring_regex(values, pattern)
    if not pc.all(fits).as_py():
        raise _wrong(name, column, problem)


def _wrong(name: str, column: str, problem: str) -> RejectionError:
    return RejectionError(RejectionReason.EXTERNAL_TABLE_MALFORMED, f"{name}: a {column} is {problem}.")


def _malformed(name: str, problem: str) -> RejectionError:
    """pyarrow's words may quote the file."""
    plain = "".join(each if each.isprintable() else " " for each in problem.splitlines()[0].rstrip("."))[:300]
    return RejectionError(RejectionReason.EXTERNAL_TABLE_MALFORMED, f"{name} cannot be used: {plain}.")
