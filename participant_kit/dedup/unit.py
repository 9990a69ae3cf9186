"""Rows of features as unit vectors, and which of them have a cosine above a threshold, in little memory.

Cosines are computed in float32; those too close to the threshold for float32 to decide are computed again in float64,
so that the answer depends neither on how rows are cut into blocks nor on the machine's matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.errors import DataFormatError, UsageError
from participant_kit.dedup.groups import Rows

Floats = NDArray[np.float32]

_LENGTH_TOLERANCE = 0.02
_NO_LENGTH = 1e-3


class Alike(NamedTuple):
    """Pairs of rows and their cosines, float32, all above the threshold."""

    first: Rows
    second: Rows
    cosines: Floats


def check_threshold(threshold: float) -> None:
    """Refuse what is no threshold for a cosine.

    Raises:
        UsageError: it is negative, or 1 or more, which nothing exceeds.
    """
    if not 0 <= threshold < 1:
        raise UsageError(
            f"--threshold {threshold} is not at least 0 and below 1.", hint="It is a cosine; duplicates are above it."
        )


def unit_rows(stored: NDArray[Any], source: str) -> tuple[Floats, NDArray[np.bool_]]:
    """Stored features, float32 and of length 1, and which rows are finite; the others are zero.

    Rows of length 0 stay as they are: what has no direction is like nothing. Rounding to float16 is undone as far as
    the length goes.

    Args:
        stored: (rows, dimensions), floats.
        source: for messages: "features 'dedup' of FILE".

    Raises:
        DataFormatError: not floats, or a row is not L2-normalised.
    """
    if stored.ndim != 2 or stored.dtype.kind != "f":
        raise DataFormatError(f"The {source} have shape {stored.shape} and type {stored.dtype}, not rows of floats.")
    rows = np.array(stored, dtype=np.float32)
    squares = np.einsum("ij,ij->i", rows, rows)
    finite = np.isfinite(squares)
    lengths = np.sqrt(np.where(finite, squares, 0))
    odd = finite & (np.abs(lengths - 1) > _LENGTH_TOLERANCE) & (lengths > _NO_LENGTH)
    if odd.any():
        row = int(odd.argmax())
        raise DataFormatError(
            f"The {source} are not L2-normalised: a row has length {lengths[row]:.4g}.",
            hint="Divide every row by its length before saving the features.",
        )
    rows[~finite] = 0
    rows /= np.where(lengths > _NO_LENGTH, lengths, 1)[:, None]
    return rows, finite


def check_dimensions(sizes: dict[str, int]) -> int:
    """The number of dimensions that all sources have.

    Raises:
        DataFormatError: two of them differ, or there is none; names two.
    """
    if len(set(sizes.values())) != 1:
        low, high = (choose(sizes, key=sizes.__getitem__) for choose in (min, max))
        raise DataFormatError(
            f"The features of {low} have {sizes[low]} dimensions, those of {high} {sizes[high]}.",
            hint="Only features of one model can be compared.",
        )
    return next(iter(sizes.values()))


def above(first: Floats, second: Floats, threshold: float) -> Alike:
    """All pairs of a row of ``first`` and one of ``second`` with a cosine above ``threshold``.

    Args:
        first: unit rows.
        second: unit rows of as many dimensions.
        threshold: at least 0, below 1.
    """
    cosines = first @ second.T
    # A float32 product of unit vectors is off by less than this, in whatever order it sums.
    unsure = np.float32(2 * first.shape[1] * np.finfo(np.float32).eps)
    rows, columns = np.nonzero(cosines > np.float32(threshold) - unsure)
    values = cosines[rows, columns]
    close = np.flatnonzero(values <= np.float32(threshold) + unsure)
    decided = np.ones(len(rows), dtype=bool)
    for part in _slices(close, 1 << 14):
        exact = np.einsum("ij,ij->i", first[rows[part]].astype(np.float64), second[columns[part]].astype(np.float64))
        decided[part] = exact > threshold
    return Alike(rows[decided], columns[decided], np.minimum(values[decided], np.float32(1)))


def _slices(rows: Rows, step: int) -> Iterator[Rows]:
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def feature_source(path: Path, member: str) -> str:
    """How messages call the features of a metadata file."""
    return f"features {member!r} of {path.stem}.npz"
