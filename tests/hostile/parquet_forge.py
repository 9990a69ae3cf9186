"""Parquet files made by hand, so that footers and page headers can say anything.

Thrift's compact protocol and parquet's structures, as far as a table of text columns needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from competition.data.thrift_compact import BINARY, I32, I64, LIST, STRUCT, Field, encode

UNCOMPRESSED, GZIP = 0, 2
PLAIN, RLE, DELTA_BYTE_ARRAY, RLE_DICTIONARY = 0, 3, 7, 8
COLUMNS = ("url", "caption", "sha256", "licence")


def plain(texts: Sequence[bytes]) -> bytes:
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


@dataclass
class Page:
    """A page; ``decompressed`` is what its header says."""

    body: bytes
    values: int
    encoding: int = PLAIN
    dictionary: bool = False
    decompressed: int | None = None

    def written(self) -> bytes:
        size = len(self.body) if self.decompressed is None else self.decompressed
        head: list[Field] = [(1, I32, 2 if self.dictionary else 0), (2, I32, size), (3, I32, len(self.body))]
        if self.dictionary:
            head.append((7, STRUCT, [(1, I32, self.values), (2, I32, self.encoding)]))
        else:
            levels: list[Field] = [(3, I32, RLE), (4, I32, RLE)]
            head.append((5, STRUCT, [(1, I32, self.values), (2, I32, self.encoding), *levels]))
        return encode(head) + self.body


@dataclass
class Column:
    """A column of required text in one row group; ``values`` and ``decompressed`` are what the footer says."""

    pages: list[Page]
    values: int
    codec: int = UNCOMPRESSED
    decompressed: int = 1000
    at: int | None = None
    kind: int = 6
    file: bytes = b""
    more: list[Field] = field(default_factory=list)


@dataclass
class Forged:
    """A table; ``rows`` is what the footer says."""

    rows: int
    columns: dict[str, Column]
    group_rows: int | None = None
    groups: int = 1
    extra: list[Field] = field(default_factory=list)

    def written(self) -> bytes:
        out, chunks = b"PAR1", []
        for name, column in self.columns.items():
            start = len(out)
            out += b"".join(page.written() for page in column.pages)
            chunks.append(self._chunk(name, column, column.at or start, len(out) - start))
        footer = encode(
            [
                (1, I32, 1),
                (2, LIST, (STRUCT, self._schema())),
                (3, I64, self.rows),
                (4, LIST, (STRUCT, [self._group(chunks)] * self.groups)),
                *self.extra,
            ]
        )
        return out + footer + len(footer).to_bytes(4, "little") + b"PAR1"

    def _schema(self) -> list[list[Field]]:
        root: list[Field] = [(4, BINARY, b"schema"), (5, I32, len(self.columns))]
        text: list[Field] = [(6, I32, 0)]
        return [
            root,
            *(
                [(1, I32, column.kind), (3, I32, 0), (4, BINARY, name.encode()), *(text if column.kind == 6 else [])]
                for name, column in self.columns.items()
            ),
        ]

    def _group(self, chunks: list[list[Field]]) -> list[Field]:
        rows = self.rows if self.group_rows is None else self.group_rows
        return [(1, LIST, (STRUCT, chunks)), (2, I64, 1000), (3, I64, rows)]

    @staticmethod
    def _chunk(name: str, column: Column, start: int, size: int) -> list[Field]:
        first = column.pages[0]
        after = start + len(first.written()) if first.dictionary else start
        meta: list[Field] = [
            (1, I32, column.kind),
            (2, LIST, (I32, [PLAIN, RLE])),
            (3, LIST, (BINARY, [name.encode()])),
            (4, I32, column.codec),
            (5, I64, column.values),
            (6, I64, column.decompressed),
            (7, I64, size),
            (9, I64, after),
            *([(11, I64, start)] if first.dictionary else []),
            *column.more,
        ]
        file: list[Field] = [(1, BINARY, column.file)] if column.file else []
        return [*file, (2, I64, start), (3, STRUCT, meta)]


def sound(rows: int = 3) -> Forged:
    """A table that is what it says."""
    texts = {
        "url": [b"https://example.org/%d.jpg" % row for row in range(rows)],
        "caption": [b"a picture"] * rows,
        "sha256": [b"%064x" % row for row in range(rows)],
        "licence": [b"CC0-1.0"] * rows,
    }
    return Forged(rows, {name: Column([Page(plain(texts[name]), rows)], rows) for name in COLUMNS})
