"""A CSV and its description in, a set of reference results out: everything, or one sentence about what is wrong."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from competition.errors import DataFormatError, UsageError, ValidationFailedError
from competition.records.base import Identifier, Prose, Record
from competition.records.references import (
    MAX_COLUMNS,
    MAX_ROWS,
    ReferenceRow,
    ReferenceSource,
    ReferenceUpload,
    ReferenceValue,
    SuiteReference,
)
from competition.rules import Competition
from competition.rules.document import read_document
from leaderboard.references import checks
from leaderboard.references.mapping import Kind, Mapped, by_name, understand

MAX_FILE_BYTES = 16 * 2**20
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?", re.ASCII)
_COUNT = re.compile(r"(\d+(?:\.\d+)?) ?([kMB]?)", re.ASCII)
_UNITS = {"": 0, "k": 3, "M": 6, "B": 9}
_MAX_CHARACTERS = 40
_MAX_SAMPLES = 2**53 - 1


class Description(Record):
    """What a file of results does not say of itself. ``map`` is field: column; see ``mapping``."""

    name: Identifier
    competition: Identifier
    track: Identifier | None = None
    scale: Identifier | None = Field(default=None, description="of all rows, where no column holds it")
    suite: SuiteReference | None = None
    source: ReferenceSource
    note: Prose = ""
    percent: bool = Field(default=False, description="the shares are given in percent")
    match_tasks: bool = Field(default=False, description="columns called as a task, by id or title, are that task's")
    delimiter: Literal[",", ";", "|", "\t"] = ","
    map: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A CSV as text: header and rows of as many cells. ``sha256`` is of the file's bytes."""

    name: str
    sha256: str
    header: list[str]
    rows: list[list[str]]


def read_description(path: Path) -> Description:
    """The description in a YAML file (raises ``RulesError`` naming line and field)."""
    document = read_document(path, "description of reference results")
    try:
        return Description.model_validate(document.values)
    except ValidationError as error:
        raise document.refusal(error.errors(), "description") from error


def read_table(path: Path, delimiter: str) -> Table:
    """Read a CSV in UTF-8, with or without a byte order mark.

    Raises ``DataFormatError`` for what is no table: too large, not text, an unclosed quotation mark, rows of another
    number of cells than the header, a column name that is empty or given twice.
    """
    with path.open("rb") as stream:
        raw = stream.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise DataFormatError(f"{path.name} has more than {MAX_FILE_BYTES // 2**20} MiB.", hint=_TOO_MUCH)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFormatError(
            f"{path.name} is not UTF-8 text (byte {error.start}).", hint="Save it as CSV in UTF-8."
        ) from error
    lines = list(_lines(text, path.name, delimiter))
    if not lines:
        raise DataFormatError(f"{path.name} is empty.", hint="The first line names the columns.")
    header = [cell.strip() for cell in lines[0]]
    _check_header(header, path.name)
    for number, row in enumerate(lines[1:], start=1):
        if len(row) != len(header):
            raise DataFormatError(
                f"{path.name}, row {number}: {len(row)} cells, and the header has {len(header)}.",
                hint="A text with a comma or a quotation mark goes between quotation marks, those inside it doubled.",
            )
    return Table(path.name, hashlib.sha256(raw).hexdigest(), header, lines[1:])


_TOO_MUCH = f"At most {MAX_ROWS:,} rows of {MAX_COLUMNS} numbers are taken: leave out what is not needed."


def _lines(text: str, name: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for count, row in enumerate(row for row in reader if row):
            if count > MAX_ROWS:
                raise DataFormatError(f"{name} has more than {MAX_ROWS:,} rows.", hint=_TOO_MUCH)
            yield row
    except csv.Error as error:
        raise DataFormatError(f"{name}, line {reader.line_num}: not valid CSV: {error}.") from error


def _check_header(header: Sequence[str], name: str) -> None:
    for place, column in enumerate(header, start=1):
        if not column:
            raise DataFormatError(f"{name}: column {place} has no name.", hint="The first line names the columns.")
        if header.index(column) != place - 1:
            raise DataFormatError(f"{name}: two columns are called {column!r}.", hint="Give each its own name.")


def read_results(path: Path, description: Description, rules: Competition) -> ReferenceUpload:
    """The whole of a file as a set that fits the competition. Nothing is dropped: what cannot be read is an error.

    An empty cell is a number that the source does not report.

    Raises:
        DataFormatError: the file is no table, or a cell no number; the message names row and column.
        UsageError, ValidationFailedError: the map, or the competition, has not what it takes.
    """
    table = read_table(path, description.delimiter)
    fields = dict(by_name(table.header, rules.suite)) if description.match_tasks else {}
    fields |= description.map
    mapped = understand(fields, rules.suite)
    for column in sorted(mapped.columns - set(table.header)):
        shown = ", ".join(table.header[:20])
        raise UsageError(f"{table.name} has no column {column!r}.", hint=f"Its columns are: {shown}.")
    if "scale" not in mapped.plain and description.scale is None:
        raise UsageError("No scale is given.", hint="Say --scale, or map a column to `scale`.")
    try:
        upload = ReferenceUpload(
            name=description.name, competition=description.competition, track=description.track,
            suite=description.suite, source=description.source, note=description.note,
            file_name=table.name, file_sha256=table.sha256, mapping=fields, metrics=dict(mapped.metrics),
            rows=tuple(_Rows(table, mapped, description, rules).all()),
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ValidationFailedError(f"{field}: {first['msg'].removeprefix('Value error, ')}.") from error
    checks.check(upload, rules)
    return upload


class _Rows:
    """The rows of a table, one by one."""

    def __init__(self, table: Table, mapped: Mapped, description: Description, rules: Competition) -> None:
        self._table = table
        self._mapped = mapped
        self._description = description
        self._places = {column: place for place, column in enumerate(table.header)}
        tasks, aggregates = checks.shares(rules.suite)
        self._shares = {Kind.TASK: tasks, Kind.AGGREGATE: aggregates, Kind.OTHER: set[str]()}

    def all(self) -> Iterator[ReferenceRow]:
        for number, cells in enumerate(self._table.rows, start=1):
            yield self._row(number, cells)

    def _row(self, number: int, cells: list[str]) -> ReferenceRow:
        plain = {field: cells[self._places[column]].strip() for field, column in self._mapped.plain.items()}
        where = f"{self._table.name}, row {number} ({plain['name'][:_MAX_CHARACTERS]!r})"
        values: dict[Kind, dict[str, ReferenceValue]] = {kind: {} for kind in Kind}
        for entry in self._mapped.numbers:
            parts = {part: cells[self._places[column]].strip() for part, column in entry.columns.items()}
            if not parts["value"]:
                continue
            share = entry.key in self._shares[entry.kind]
            found = self._value(parts, f"{where}, column {entry.columns['value']!r}", share=share)
            values[entry.kind][entry.key] = found
        samples = plain.pop("samples", "")
        try:
            return ReferenceRow(
                **{"scale": self._description.scale, **plain},
                samples=_count(samples, f"{where}, column {self._mapped.plain.get('samples')!r}") if samples else None,
                tasks=values[Kind.TASK], aggregates=values[Kind.AGGREGATE], others=values[Kind.OTHER],
            )  # fmt: skip
        except ValidationError as error:
            first = error.errors()[0]
            column = self._mapped.plain.get(str(first["loc"][0]), first["loc"][0])
            raise DataFormatError(f"{where}, column {column!r}: {first['msg']}.") from error

    def _value(self, parts: dict[str, str], where: str, *, share: bool) -> ReferenceValue:
        percent = share and self._description.percent
        numbers = {
            part: _number(text, where, percent=percent) for part, text in parts.items() if part != "note" and text
        }
        try:
            value = ReferenceValue(**numbers, note=parts.get("note", ""))
        except ValidationError as error:
            raise DataFormatError(f"{where}: {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from error
        checks.check_value(value, where, share=share)
        return value


def _number(text: str, where: str, *, percent: bool) -> float:
    """The number, divided by 100 in decimal where it is a percentage: 56.52 becomes 0.5652 and nothing beside it."""
    if len(text) > _MAX_CHARACTERS or not _NUMBER.fullmatch(text):
        raise DataFormatError(
            f"{where}: {text[:_MAX_CHARACTERS]!r} is not a number.",
            hint="Numbers are written as 0.123; leave the cell empty where the source has none. Nothing was imported.",
        )
    number = Decimal(text)
    return float(number / 100 if percent else number)


def _count(text: str, where: str) -> int:
    """A whole number, or one with k, M or B as papers write sizes: 12.8M."""
    found = _COUNT.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    number = Decimal(found[1]).scaleb(_UNITS[found[2]]) if found else Decimal("0.5")
    if number != number.to_integral_value() or number > _MAX_SAMPLES:
        raise DataFormatError(
            f"{where}: {text[:_MAX_CHARACTERS]!r} is not a number of samples.", hint="Write 12800000 or 12.8M."
        )
    return int(number)
