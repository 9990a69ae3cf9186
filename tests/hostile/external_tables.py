"""Hostile tables of external data: no parquet, parquet that lies about its size, and texts that may not be."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from competition.data.thrift_compact import I64, LIST, STRUCT
from competition.errors import RejectionReason
from tests.competition.verification.own_entries import ROWS, OwnEntry, rows
from tests.hostile.case import Hostile
from tests.hostile.parquet_forge import DELTA_BYTE_ARRAY, GZIP, RLE_DICTIONARY, Column, Forged, Page, plain, sound

R = RejectionReason
BAD = R.EXTERNAL_TABLE_MALFORMED
Make = Callable[[OwnEntry], object]


def raw(content: bytes, count: int = 3) -> Make:
    return lambda entry: entry.table(content, count).seal()


def with_values(column: str, value: Any, **options: Any) -> Make:
    """A sound table with this value in one row."""

    def make(entry: OwnEntry) -> None:
        content = rows(3)
        content[column][1] = value
        entry.table(content, **options).seal()

    return make


def forged(change: Callable[[Forged], object], claimed: int = 3) -> Make:
    """A table made by hand, changed."""

    def make(entry: OwnEntry) -> None:
        table = sound()
        change(table)
        entry.table(table.written(), claimed).seal()

    return make


def replaced(column: str, *pages: Page, **said: Any) -> Make:
    """A table whose column has these pages instead."""
    return forged(lambda table: table.columns.update({column: Column(list(pages), **{"values": 3, **said})}))


def _typed(column: str, kind: pa.DataType, values: list[Any]) -> Make:
    def make(entry: OwnEntry) -> None:
        table = pa.table(rows(3))
        entry.table(table.set_column(table.column_names.index(column), column, pa.array(values, kind))).seal()

    return make


def _overlapping(table: Forged) -> None:
    table.columns["licence"].at = 4


def _said(**fields: int) -> Callable[[Forged], object]:
    return lambda table: vars(table).update(fields)


def _of_url(**fields: Any) -> Callable[[Forged], object]:
    return lambda table: vars(table.columns["url"]).update(fields)


def _many_rows(table: Forged) -> None:
    table.rows = 10**13
    for column in table.columns.values():
        column.values = 10**13


HISTOGRAM = [(16, STRUCT, [(2, LIST, (I64, [1, 2]))])]
ZEROS = gzip.compress(bytes(17 << 20), 1)
REFERENCES = Page(b"\x01\x06\x00", 3, RLE_DICTIONARY)
DICTIONARY = Page(plain([b"x" * 64]), 1, dictionary=True)

CASES: dict[str, Hostile[OwnEntry]] = {
    "no parquet": Hostile(BAD, "not a parquet file", raw(b"url,caption,sha256,licence\n")),
    "nothing": Hostile(BAD, "not a parquet file", raw(b"")),
    "a zip": Hostile(BAD, "not a parquet file", raw(b"PK\x03\x04" + bytes(100))),
    "encrypted": Hostile(BAD, "not a parquet file", raw(sound().written()[:-4] + b"PARE")),
    "cut short": Hostile(BAD, "not a parquet file", raw(sound().written()[:-9])),
    "a footer of four gigabytes": Hostile(BAD, "its footer has", raw(sound().written()[:-8] + b"\xff\xff\xff\xffPAR1")),
    "a footer before the file": Hostile(BAD, "promises a footer", raw(b"PAR1" + bytes(8) + b"\x00\x01\x00\x00PAR1")),
    "a footer of noise": Hostile(BAD, "footer is malformed", raw(b"PAR1" + b"\xff" * 99 + b"\x60\0\0\0PAR1")),
    "a footer nested deeply": Hostile(BAD, "nested too deeply", raw(b"PAR1" + b"\x1c" * 900 + b"\x84\x03\0\0PAR1")),
    "a footer of many values": Hostile(
        BAD, "too long", raw(b"PAR1" + b"\x19\xf5\xff\xff\xff\x07" + bytes(90) + b"\x60\0\0\0PAR1")
    ),
    "ten trillion rows": Hostile(BAD, f"10000000000000 rows; at most {ROWS}", forged(_many_rows)),
    "more rows than its row groups have": Hostile(BAD, "row groups have others", forged(_said(rows=9, group_rows=3))),
    "row groups that are one": Hostile(
        BAD,
        "lies where",
        forged(_said(rows=9, groups=3, group_rows=3)),
    ),
    "columns that are one": Hostile(BAD, "lies where", forged(_overlapping)),
    "a column beyond the end": Hostile(BAD, "outside", forged(_of_url(at=10**9))),
    "a column in another file": Hostile(BAD, "in another file", forged(_of_url(file=b"/etc/passwd"))),
    "a row group of a terabyte": Hostile(BAD, "at most 134217728", forged(_of_url(decompressed=10**12))),
    "a page of two gigabytes": Hostile(
        BAD,
        "promises 2147483647 bytes",
        replaced("caption", Page(gzip.compress(b"a"), 3, decompressed=2**31 - 1), codec=GZIP),
    ),
    "a page of zeros": Hostile(
        BAD, "cannot be decoded", replaced("caption", Page(ZEROS, 3, decompressed=16 << 20), codec=GZIP)
    ),
    "a huge dictionary": Hostile(
        BAD,
        f"promises {17 << 20} bytes",
        replaced(
            "caption",
            Page(ZEROS, 1, dictionary=True, decompressed=17 << 20),
            REFERENCES,
            codec=GZIP,
        ),
    ),
    "a dictionary of a billion texts": Hostile(
        BAD,
        "a dictionary that cannot be",
        replaced("caption", Page(bytes(64), 10**9, dictionary=True), REFERENCES),
    ),
    "beyond the dictionary": Hostile(
        BAD, "cannot be decoded", replaced("caption", DICTIONARY, Page(b"\x08\x06\xf0", 3, RLE_DICTIONARY))
    ),
    "an encoding that repeats": Hostile(BAD, "encoding 7", replaced("caption", Page(bytes(30), 3, DELTA_BYTE_ARRAY))),
    "fewer values in the pages": Hostile(BAD, "do not hold", replaced("caption", Page(plain([b"a"]), 1))),
    "a page with no values to it": Hostile(BAD, "cannot", replaced("caption", Page(b"", 3))),
    "a text longer than its page": Hostile(
        BAD, "cannot", replaced("caption", Page(b"\xff\xff\xff\x7f" + bytes(20), 3))
    ),
    # A histogram of levels of a wrong length, at which pyarrow's reader of footers ends the process.
    "statistics that end the process": Hostile(
        R.EXTERNAL_COUNT_MISMATCH,
        "external_rows = 4",
        forged(_of_url(more=HISTOGRAM), 4),
    ),
    "numbers": Hostile(BAD, "caption is no text", _typed("caption", pa.int64(), [1, 2, 3])),
    "bytes": Hostile(BAD, "caption is no text", _typed("caption", pa.binary(), [b"a", b"b", b"c"])),
    "lists": Hostile(BAD, "none of them nested", _typed("caption", pa.list_(pa.string()), [["a"], ["b"], ["c"]])),
    "structures": Hostile(
        BAD, "none of them nested", _typed("caption", pa.struct([("a", pa.string())]), [{"a": "b"}] * 3)
    ),
    "another column": Hostile(BAD, "its columns are", lambda e: e.table({**rows(2), "price": [1, 2]}).seal()),
    "a column less": Hostile(BAD, "its columns are", lambda e: e.table({"url": rows(2)["url"]}).seal()),
    "a file's address": Hostile(BAD, "url is no address", with_values("url", "file:///etc/passwd")),
    "a script's address": Hostile(BAD, "url is no address", with_values("url", "javascript:alert(1)//https://a.b")),
    "an address in two lines": Hostile(BAD, "url is no address", with_values("url", "https://a.b/\nfile:///etc")),
    "an address that never ends": Hostile(BAD, "url is of 9008 bytes", with_values("url", "https://" + "a" * 9000)),
    "no address": Hostile(BAD, "url is missing", with_values("url", None)),
    "a caption that is a book": Hostile(BAD, "caption is of 100000 bytes", with_values("caption", "a" * 100_000)),
    "a caption with a zero": Hostile(BAD, "zero character", with_values("caption", "a\0b")),
    "a caption of no text": Hostile(BAD, "caption is no UTF-8", replaced("caption", Page(plain([b"\xff\xfe"] * 3), 3))),
    "an sha256 too short": Hostile(BAD, "sha256 is not 64", with_values("sha256", "ab" * 31)),
    "an sha256 of capitals": Hostile(BAD, "sha256 is not 64", with_values("sha256", "AB" * 32)),
    "no licence": Hostile(BAD, "licence is empty", with_values("licence", "")),
    "a licence with control characters": Hostile(BAD, "licence is empty", with_values("licence", "\x1b[2J")),
}
