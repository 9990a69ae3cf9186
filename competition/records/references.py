"""Reference results: numbers that a paper or another program reports, with where each of them comes from.

They are shown beside a competition's entries and never ranked: nobody verified them here.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from competition.records.base import FileName, HttpUrl, Identifier, Line, Prose, Record, Several, Sha256, Timestamp

MAX_ROWS = 5000
MAX_COLUMNS = 400
SuiteReference = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*@[1-9][0-9]{0,5}$")]
Note = Annotated[Prose, Field(max_length=500)]
Metric = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_@.-]+$", max_length=64)]


class ReferenceSource(Record):
    """Where the numbers are from."""

    title: Line
    url: HttpUrl
    section: Line = Field(description="the table, section or file within the source")
    retrieved: date = Field(description="the day on which they were taken from there")
    licence: Note = Field(description="the licence of the numbers' source, or what is known of it")


class ReferenceValue(Record):
    """One reported number, with the interval where the source has one, and what is to be said about this number."""

    value: float
    low: float | None = None
    high: float | None = None
    note: Note = ""

    @model_validator(mode="after")
    def _interval(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two bounds")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise ValueError(f"the value {self.value:g} lies outside of its interval {self.low:g} to {self.high:g}")
        return self


class ReferenceRow(Record):
    """What the source reports of one method or model at one scale."""

    name: Line
    method: Annotated[Prose, Field(max_length=120)] = ""
    scale: Identifier
    samples: int | None = Field(default=None, ge=0, le=2**53 - 1, description="size of the training set")
    tasks: dict[Identifier, ReferenceValue] = Field(default={}, max_length=MAX_COLUMNS, description="by task id")
    aggregates: dict[Identifier, ReferenceValue] = Field(
        default={}, max_length=MAX_COLUMNS, description="group means and the like that the suite has too, by their id"
    )
    others: dict[Line, ReferenceValue] = Field(
        default={}, max_length=MAX_COLUMNS, description="numbers that the suite has not, under the source's own names"
    )
    note: Note = ""


class ReferenceUpload(Record):
    """A set of reference results as it is imported. The same one again changes nothing."""

    schema_version: Literal[1] = 1
    name: Identifier = Field(description="names the set within the competition; a changed one is its next version")
    competition: Identifier
    track: Identifier | None = Field(default=None, description="None: shown in all tracks")
    suite: SuiteReference | None = Field(
        default=None, description="with whose results the numbers are said to be comparable; None: with no suite's"
    )
    source: ReferenceSource
    note: Prose = ""
    file_name: FileName
    file_sha256: Sha256
    mapping: dict[Annotated[Prose, Field(max_length=250)], Annotated[Prose, Field(max_length=500)]] = Field(
        max_length=3 * MAX_COLUMNS, description="from which column of the file each field was taken"
    )
    metrics: dict[Identifier, Metric] = Field(
        default={}, max_length=MAX_COLUMNS, description="the metric of each task that has values, as the source has it"
    )
    rows: Annotated[Several[ReferenceRow], Field(min_length=1, max_length=MAX_ROWS)]


class ReferenceReceipt(Record):
    """The answer to an import."""

    id: Identifier
    version: int
    changed: bool = Field(description="False: exactly this set was there already")


class ReferenceHead(Record):
    """A version of a set without its numbers: what it is, where it is from, and what became of it."""

    id: Identifier
    name: Identifier
    version: int
    competition: Identifier
    track: Identifier | None
    suite: str | None
    source: ReferenceSource
    note: str
    file_name: str
    file_sha256: Sha256
    mapping: dict[str, str]
    metrics: dict[str, str]
    digest: Sha256 = Field(description="sha256 of the canonical JSON of what was imported")
    row_count: int
    importer: str
    imported_at: Timestamp
    replaced_at: Timestamp | None = Field(description="when a newer version came")
    removed_at: Timestamp | None = Field(description="when it was taken out; its numbers are deleted")


class ReferenceSet(ReferenceHead):
    """A version of a set with its numbers, in the file's order."""

    rows: list[ReferenceRow]
