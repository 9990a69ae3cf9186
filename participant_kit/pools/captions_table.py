"""A table of file names and captions: csv, tsv or parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from competition.data.atomic import storage_errors
from competition.data.metadata import read_columns
from competition.errors import DataFormatError, UsageError


@dataclass(frozen=True, slots=True)
class CaptionTable:
    """Where the captions of a folder's images are.

    Args:
        path: ``.parquet``, ``.csv`` or ``.tsv`` (UTF-8, with a line of column names).
        file_column: the image's path within the folder, or its name.
        caption_column: its caption.
    """

    path: Path
    file_column: str = "file"
    caption_column: str = "caption"

    def read(self) -> dict[str, str]:
        """Captions by file; rows that lack either are passed over.

        Raises:
            UsageError: the file does not exist or is of another kind.
            DataFormatError: a column is absent, or a file has two captions.
        """
        if not self.path.is_file():
            raise UsageError(f"The table of captions {self.path} does not exist.")
        captions: dict[str, str] = {}
        for name, caption in self._rows():
            if name and caption and captions.setdefault(name, caption) != caption:
                raise DataFormatError(f"The table {self.path} has two captions for {name!r}.")
        return captions

    def _rows(self) -> Iterator[tuple[str | None, str | None]]:
        if self.path.suffix == ".parquet":
            table = read_columns(self.path, [self.file_column, self.caption_column])
            names, captions = (table.column(name).to_pylist() for name in (self.file_column, self.caption_column))
            for name, caption in zip(names, captions, strict=True):
                yield None if name is None else str(name), None if caption is None else str(caption)
            return
        if self.path.suffix not in {".csv", ".tsv"}:
            raise UsageError(f"The table of captions {self.path} is neither .parquet, .csv nor .tsv.")
        with storage_errors("reading", self.path), self.path.open(encoding="utf-8-sig", newline="") as stream:
            try:
                rows = csv.DictReader(stream, delimiter="\t" if self.path.suffix == ".tsv" else ",")
                for column in (self.file_column, self.caption_column):
                    if column not in (rows.fieldnames or []):
                        shown = ", ".join(rows.fieldnames or [])
                        raise DataFormatError(
                            f"The table {self.path} has no column {column!r}.", hint=f"It has: {shown}."
                        )
                for row in rows:
                    yield row[self.file_column], row[self.caption_column]
            except (UnicodeDecodeError, csv.Error) as error:
                raise DataFormatError(f"The table {self.path} is not UTF-8 text with columns: {error}.") from error
