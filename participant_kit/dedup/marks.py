"""What is compared of a row: its sha256 or its perceptual hash, wherever it stands, as unsigned 64-bit words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import EXTRAS_FOLDER, column_types, column_uids, list_metadata, read_columns
from competition.data.uids import UID_DTYPE, UidArray, count_in
from competition.errors import DataFormatError, UsageError
from participant_kit.dedup.groups import joined

Words = NDArray[np.uint64]

_HEX = re.compile(r"(?:[0-9a-fA-F]{16})+")


@dataclass(frozen=True, slots=True)
class Mark:
    """A column of hexadecimal digits.

    Args:
        column: its name.
        words: how many times 64 bits.
    """

    column: str
    words: int


SHA256 = Mark("sha256", 4)
PERCEPTUAL_HASH = Mark("perceptual_hash", 1)


@dataclass(frozen=True, slots=True)
class MarkTable:
    """Marks of a folder of fingerprints: distinct uids, sorted, and for each the mark and whether there is one."""

    uids: UidArray
    words: Words
    present: NDArray[np.bool_]

    @classmethod
    def of(cls, folder: Path, mark: Mark) -> MarkTable:
        """Read all files of the folder; of rows with one uid the first counts."""
        tables = [(path, read_columns(path, ["uid", mark.column])) for path in list_metadata(folder)]
        parts = [parse_marks(table.column(mark.column), mark, path) for path, table in tables]
        uids = joined([column_uids(table, path) for path, table in tables], UID_DTYPE)
        order = np.lexsort((np.arange(len(uids)), uids["f1"], uids["f0"]))
        ordered = uids[order]
        first = np.ones(len(order), dtype=bool)
        first[1:] = ordered[1:] != ordered[:-1]
        rows = order[first]
        return cls(
            ordered[first],
            np.concatenate([words for words, _ in parts])[rows],
            np.concatenate([present for _, present in parts])[rows],
        )

    def of_uids(self, uids: UidArray) -> tuple[Words, NDArray[np.bool_]]:
        """Marks of these uids; none where the folder has no such uid."""
        known = count_in(uids, self.uids) > 0
        words = np.zeros((len(uids), self.words.shape[1]), dtype=np.uint64)
        present = known.copy()
        places = _places(uids[known], self.uids)
        words[known], present[known] = self.words[places], self.present[places]
        return words, present


def _places(uids: UidArray, ordered: UidArray) -> NDArray[np.int64]:
    """Positions of uids that are in a sorted array without repeats."""
    both = np.concatenate([ordered, uids])
    order = np.lexsort((np.arange(len(both)), both["f1"], both["f0"]))
    counted = np.cumsum(order < len(ordered)) - 1
    places = np.empty(len(both), dtype=np.int64)
    places[order] = counted
    return places[len(ordered) :]


def file_marks(mark: Mark, path: Path) -> tuple[Words, NDArray[np.bool_]]:
    """Marks of a metadata file's rows, from the file itself or from the extras that annotating puts beside it.

    Returns:
        uint64 (rows, words), and where there is one.

    Raises:
        UsageError: neither has the column.
        DataFormatError: a value is not hexadecimal, or the extras are of other rows.
    """
    if mark.column in column_types(path).names:
        return parse_marks(read_columns(path, [mark.column]).column(mark.column), mark, path)
    extras = path.parent / EXTRAS_FOLDER / path.name
    if not extras.exists():
        raise UsageError(
            f"Neither {path.name} nor {extras} has a column {mark.column!r}.",
            hint="Give the pool's shards with --shards-dir, or annotate them with `datacup pool annotate`.",
        )
    table = read_columns(extras, ["uid", mark.column])
    if not np.array_equal(column_uids(table, extras), column_uids(read_columns(path, ["uid"]), path)):
        raise DataFormatError(f"The rows of {extras} are not those of {path.name}.", hint="Annotate the shards again.")
    return parse_marks(table.column(mark.column), mark, extras)


def parse_marks(column: Any, mark: Mark, path: Path) -> tuple[Words, NDArray[np.bool_]]:
    """A column of digits as words, and which rows have one: null and empty are none.

    Raises:
        DataFormatError: a value is something else; names file, column and row.
    """
    texts: Sequence[str | None] = column.to_pylist()
    digits, none = 16 * mark.words, "0" * (16 * mark.words)
    for row, text in enumerate(texts):
        if text and not (len(text) == digits and _HEX.fullmatch(text)):
            raise DataFormatError(
                f"The {mark.column} {text[:digits]!r} in row {row} of {path} is not {digits} hexadecimal digits."
            )
    raw = bytes.fromhex("".join(text or none for text in texts))
    words = np.frombuffer(raw, dtype=">u8").astype(np.uint64).reshape(-1, mark.words)
    return words, np.array([bool(text) for text in texts], dtype=bool)
