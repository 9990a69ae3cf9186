"""The score that a fraction of a pool reaches, exactly DataComp's, whatever the pool's size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.data.engine import Needs
from competition.data.metadata import column_floats, read_columns
from participant_kit.subsets.pool import MetadataPool

_HALF = np.uint32(16)
_LOWER = np.uint32(0xFFFF)
_SIGN = np.uint32(0x80000000)
_MOST_TASKS = 128
"""Each answers with 512 KiB of counts, however many files and rows it read."""

Counts = NDArray[np.int64]


def fraction_threshold(scores: NDArray[np.float32], fraction: float) -> np.float32:
    """The least score that DataComp keeps at a fraction: the (n+1)-th largest, n = int(len(scores) * fraction).

    So at least n + 1 rows are kept, and all that tie with the last one. NaN counts in n and is never kept. Where the
    original has no (n+1)-th score (fraction 1, or more NaN than that leaves), every scored row is kept.

    Args:
        scores: of the whole pool, float32, any order.
        fraction: in (0, 1].
    """
    rank = int(len(scores) * fraction)
    valid = scores[~np.isnan(scores)]
    if rank >= len(valid):
        return np.float32(-np.inf)
    position = len(valid) - 1 - rank
    return np.float32(np.partition(valid, position)[position])


def pool_threshold(pool: MetadataPool, column: str, fraction: float) -> np.float32:
    """``fraction_threshold`` of a score column of a whole pool, in two passes and without holding the scores.

    A float's bits, turned so that they are in its order, are counted by their upper half; then, inside the upper half
    at which the rank is reached, by their lower half.

    Args:
        pool: its engine does the reading.
        column: of float32 scores.
        fraction: in (0, 1].
    """
    rows, counts = _count(pool, column, None)
    place = int(counts.sum()) - 1 - int(rows * fraction)
    if place < 0:
        return np.float32(-np.inf)
    upper, place = _reached(counts, place)
    lower, _ = _reached(_count(pool, column, upper)[1], place)
    return _score(upper << 16 | lower)


def read_scores(column: str, path: Path) -> NDArray[np.float32]:
    """A score column of one metadata file, float32 of shape (rows,)."""
    return column_floats(read_columns(path, [column]), column)


def _count(pool: MetadataPool, column: str, upper: int | None) -> tuple[int, Counts]:
    """Rows of the pool, and its scores counted by half a key (see ``_count_halves``)."""
    size = -(-len(pool.files) // _MOST_TASKS)
    groups = [pool.files[start : start + size] for start in range(0, len(pool.files), size)]
    results = pool.engine.map(
        partial(_count_halves, column, upper),
        {group[0].name: group for group in groups},
        stage="reading scores" if upper is None else "finding the threshold",
        needs=Needs(threads=True),
        progress=pool.progress,
    ).values()
    return sum(rows for rows, _ in results), np.sum([counts for _, counts in results], axis=0)


def _count_halves(column: str, upper: int | None, paths: Sequence[Path]) -> tuple[int, Counts]:
    """Rows of some files, and how many of their scores have each upper half of a key; or, of those with the given upper
    half, each lower half. NaN is in no count."""
    rows, counts = 0, np.zeros(1 << 16, dtype=np.int64)
    for path in paths:
        scores = read_scores(column, path)
        keys = _keys(scores[~np.isnan(scores)])
        halves = keys >> _HALF if upper is None else keys[keys >> _HALF == upper] & _LOWER
        counts += np.bincount(halves, minlength=len(counts))
        rows += len(scores)
    return rows, counts


def _keys(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Unsigned numbers in the order of the scores: the sign bit is flipped, and all others of negative numbers."""
    bits = scores.view(np.uint32)
    negative = (bits.view(np.int32) >> 31).view(np.uint32)
    return bits ^ (negative | _SIGN)


def _score(key: int) -> np.float32:
    bits = np.uint32(key ^ 0x80000000 if key >= 0x80000000 else ~key & 0xFFFFFFFF)
    return np.float32(bits.view(np.float32))


def _reached(counts: Counts, place: int) -> tuple[int, int]:
    """Which count the 0-based ``place`` falls into, and its place there."""
    ends = np.cumsum(counts)
    index = int(np.searchsorted(ends, place, side="right"))
    return index, place - int(ends[index] - counts[index])
