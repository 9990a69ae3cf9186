"""Checked rows of features, block by block: what every dataset metric starts from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError, ModelOutputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_BLOCK_ELEMENTS = 1 << 21
_MOST_BLOCK_ROWS = 1 << 11
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Features:
    """Rows of finite numbers.

    Args:
        values: floats of any precision, shape (rows, dimensions); may be a memory map.
        name: for messages, as in the middle of a sentence.
        unit: rows are divided by their Euclidean length when they are read.
    """

    values: NDArray[Any]
    name: str
    unit: bool = False

    @classmethod
    def of(cls, values: NDArray[Any] | Features, name: str, *, least: int = 1) -> Features:
        """Check an array; what has been checked keeps its name.

        Args:
            values: see above.
            name: of an array that has none.
            least: rows that the metric is defined from.

        Raises:
            EvaluationError: too few rows, or not rows of floats.
            ModelOutputError: a number is not finite, or larger than float32 can say.
        """
        features = values if isinstance(values, Features) else cls._checked(values, name)
        if features.rows < least:
            raise EvaluationError(
                f"This metric needs {least:,} {_noun(least)} or more; {features.name} has {features.rows:,}.",
                hint="Extract features of more images.",
            )
        return features

    @classmethod
    def _checked(cls, values: NDArray[Any], name: str) -> Features:
        if values.ndim != 2 or values.dtype.kind != "f" or not values.shape[1]:
            raise EvaluationError(
                f"Not rows of floats: {name} has shape {values.shape} and type {values.dtype}.",
                hint="Features are a two-dimensional array of floats, one row an image or a text.",
            )
        features = cls(values, name)
        for start, block in features.blocks():
            wrong = np.flatnonzero(~(np.abs(block) <= _LARGEST).all(axis=1))
            if len(wrong):
                raise ModelOutputError(
                    f"Row {start + int(wrong[0])} of {name} is not finite.",
                    hint="Leave such rows out, or extract their features again.",
                )
        return features

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self.values.shape[0])

    @property
    def dimensions(self) -> int:
        """Of each row."""
        return int(self.values.shape[1])

    def blocks(self, most: int = _MOST_BLOCK_ROWS) -> Iterator[tuple[int, Floats]]:
        """Number of the first row, and float64 rows, from first to last; at most ``most`` rows at a time.

        Raises:
            ModelOutputError: a row shall have length 1 and is zero, and so has no direction.
        """
        step = min(rows_of_width(self.dimensions), most)
        for start in range(0, self.rows, step):
            block = np.asarray(self.values[start : start + step], dtype=np.float64)
            yield start, self._scaled(block, range(start, start + len(block)))

    def directions(self) -> Features:
        """The same rows, divided by their Euclidean length."""
        return Features(self.values, self.name, unit=True)

    def every(self) -> Floats:
        """All rows at once, for sets that are small."""
        return np.concatenate([block for _, block in self.blocks()])

    def take(self, rows: Integers) -> Floats:
        """These rows, in the order asked, as float64."""
        distinct, places = np.unique(rows, return_inverse=True)
        taken = np.asarray(self.values[distinct], dtype=np.float64)
        return self._scaled(taken, distinct)[places]

    def _scaled(self, block: Floats, numbers: Sequence[int] | Integers) -> Floats:
        return unit_rows(block, self.name, numbers) if self.unit else block


def pair(
    first: NDArray[Any] | Features, second: NDArray[Any] | Features, *, least: int = 1
) -> tuple[Features, Features]:
    """Two sets of one feature space.

    Args:
        first: see ``Features``.
        second: likewise.
        least: rows that the metric needs of each.

    Raises:
        EvaluationError: other dimensions, or what ``Features.of`` raises.
    """
    one = Features.of(first, "the first set", least=least)
    other = Features.of(second, "the second set", least=least)
    require_same_dimensions(one, other)
    return one, other


def require_same_dimensions(first: Features, second: Features) -> None:
    """Refuse features of two spaces.

    Raises:
        EvaluationError: dimensions differ.
    """
    if first.dimensions != second.dimensions:
        raise EvaluationError(
            f"Dimensions differ: {first.name} has {first.dimensions:,}, {second.name} has {second.dimensions:,}.",
            hint="Extract both with the same model: only features of one space can be compared.",
        )


def unit_rows(block: Floats, name: str, numbers: Sequence[int] | Integers | None = None) -> Floats:
    """Every row divided by its Euclidean length.

    Args:
        block: float64 (rows, dimensions).
        name: of what they are rows of, for the message.
        numbers: of the rows, for the message; from 0 when absent.

    Raises:
        ModelOutputError: a row is zero.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
    zero = np.flatnonzero(lengths == 0)
    if len(zero):
        raise ModelOutputError(
            f"Row {int(zero[0] if numbers is None else numbers[zero[0]])} of {name} is zero: it has no direction.",
            hint="Leave such rows out, or extract their features again.",
        )
    scaled: Floats = block / lengths[:, None]
    return scaled


def class_labels(labels: Sequence[int] | NDArray[Any], features: Features, classes: int | None = None) -> Integers:
    """The class of every row, int64.

    Args:
        labels: whole numbers from 0, one a row of ``features``.
        features: what they are of.
        classes: how many there are; any number when absent.

    Raises:
        EvaluationError: not one a row, not whole numbers, or out of range.
    """
    found = np.asarray(labels)
    if found.shape != (features.rows,) or found.dtype.kind not in "iu":
        raise EvaluationError(
            f"The labels of {features.name} have shape {found.shape} and type {found.dtype} "
            f"for {features.rows:,} {_noun(features.rows)}.",
            hint="Give one whole number, the number of its class, for every row.",
        )
    least, most = int(found.min()), int(found.max())
    if least < 0 or (classes is not None and most >= classes) or most > np.iinfo(np.int64).max:
        wrong = least if least < 0 else most
        bound = "0 or greater" if classes is None else f"from 0 to {classes - 1:,}"
        raise EvaluationError(
            f"The labels of {features.name} have a class {wrong}, which is not {bound}.",
            hint="Number the classes from 0, alike in all files.",
        )
    return found.astype(np.int64)


def require_every_class(labels: Integers, classes: int, name: str) -> None:
    """Refuse a class without a row.

    Raises:
        EvaluationError: a class in [0, classes) does not occur; the message names the first, and how many there are.
    """
    present = np.unique(labels)
    if len(present) == classes:
        return
    gaps = np.flatnonzero(present != np.arange(len(present)))
    first = int(gaps[0]) if len(gaps) else len(present)
    raise EvaluationError(
        f"Class {first} has no row in {name} (of {classes:,} classes {classes - len(present):,} are empty).",
        hint="Add images of these classes, or leave the classes out and number the others anew.",
    )


def rows_of_width(width: int) -> int:
    """How many rows of so many numbers make a block."""
    return max(1, min(_MOST_BLOCK_ROWS, _BLOCK_ELEMENTS // width))


def _noun(rows: int) -> str:
    return "row" if rows == 1 else "rows"
