"""Captions where Arrow keeps them: measured and handed on without a Python string for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from competition.errors import DataFormatError
from participant_kit.subsets import native

TOO_SHORT, FEW_WORDS, ENOUGH = 0, 1, 2
"""What ``Captions.sizes`` answers."""

_MAX_BYTES = 2**31 - 1
"""Of a ``pyarrow.string`` array's data."""


@dataclass(frozen=True, slots=True)
class Captions:
    """UTF-8 captions: number *i* is ``text[starts[i]:ends[i]]``.

    Args:
        text: a buffer of bytes, shared with the table.
        starts: int64, shape (captions,).
        ends: likewise.
    """

    text: Any
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of_table(cls, table: Any, path: Path) -> Captions:
        """The column ``text`` of a table read from ``path``; a missing caption is empty.

        Raises:
            DataFormatError: a caption is not UTF-8; says in which row.
        """
        column = table.column("text")
        if column.nbytes > _MAX_BYTES:
            column = column.cast(pa.large_string())
        array = column.combine_chunks()
        if array.null_count:
            array = array.fill_null("")
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise DataFormatError(f"Metadata file {path} has a damaged caption: {error}.") from error
        return cls._of_array(array)

    @classmethod
    def of_strings(cls, texts: Sequence[str]) -> Captions:
        """Captions from Python strings."""
        return cls._of_array(pa.array(texts, pa.large_string()))

    @classmethod
    def _of_array(cls, array: Any) -> Captions:
        _, offsets, text = array.buffers()
        width = np.int64 if pa.types.is_large_string(array.type) else np.int32
        if offsets is None or not len(array):
            return cls(b"", np.zeros(0, np.int64), np.zeros(0, np.int64))
        bounds = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1].astype(np.int64)
        return cls(b"" if text is None else text, bounds[:-1], bounds[1:])

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, rows: NDArray[np.int64]) -> Captions:
        """The captions of some rows, in their order."""
        return Captions(self.text, self.starts[rows], self.ends[rows])

    def strings(self) -> list[str]:
        """One Python string for each caption."""
        text = memoryview(self.text)
        return [
            str(text[start:end], "utf-8") for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        ]

    def sizes(self, characters: int, words: int) -> NDArray[np.uint8]:
        """Does each caption have enough characters (code points), and enough words (as ``str.split`` cuts them)?

        Returns:
            uint8 of shape (captions,): ``TOO_SHORT``, else ``FEW_WORDS``, else ``ENOUGH``.
        """
        if native.module is None:
            return np.fromiter((_size(text, characters, words) for text in self.strings()), np.uint8, len(self))
        answer = np.empty(len(self), np.uint8)
        native.module.sizes(self.text, *self.bounds(), characters, words, answer)
        return answer

    def bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Starts and ends as the native module takes them: each in one piece."""
        return np.ascontiguousarray(self.starts), np.ascontiguousarray(self.ends)


def _size(text: str, characters: int, words: int) -> int:
    if len(text) < characters:
        return TOO_SHORT
    return ENOUGH if len(text.split()) >= words else FEW_WORDS
