"""Passing over sorted uid arrays that need not fit in memory, and writing subsets whose length is known at the end."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import atomic_writer
from competition.data.uids import UID_DTYPE, UidArray, count_in, first_unsorted, forget_pages, multiplicities

STEP_ROWS = 1 << 20
"""Uids of all arrays together that one step looks at: 16 MiB, and several times as much while it works on them."""

_BLOCK_ROWS = 1 << 20
_IN_MEMORY_ROWS = 1 << 22

Counts = NDArray[np.int64]


class Step(NamedTuple):
    """Distinct uids in ascending order, and how often each occurs in every source: int64 of shape (sources, uids)."""

    uids: UidArray
    counts: Counts


def steps(sources: Sequence[UidArray], step_rows: int = STEP_ROWS) -> Iterator[Step]:
    """Every distinct uid of sorted arrays exactly once, in ascending order, however often it is repeated.

    A step ends before the least uid that stands one window further on in any of the arrays, so it is complete for
    every uid that it holds. Where a single uid fills a whole window, the step is that uid alone, counted by bisection.

    Args:
        sources: sorted arrays; memory-mapped ones are read in order, once.
        step_rows: uids in memory at a time; it never changes what all steps together say.
    """
    window = max(1, step_rows // max(1, len(sources)))
    at = [0] * len(sources)
    while any(start < len(source) for start, source in zip(at, sources, strict=True)):
        ahead = [
            source[start + window].item()
            for start, source in zip(at, sources, strict=True)
            if start + window < len(source)
        ]
        bound = min(ahead) if ahead else None
        ends = [position(s, bound, start, min(start + window, len(s))) for start, s in zip(at, sources, strict=True)]
        if ends == at:
            ends = [position(s, bound, start, len(s), after=True) for start, s in zip(at, sources, strict=True)]
            counts = np.array([[end - start] for start, end in zip(at, ends, strict=True)], dtype=np.int64)
            yield Step(np.array([bound], dtype=UID_DTYPE), counts)
        else:
            yield _counted([s[start:end] for start, end, s in zip(at, ends, sources, strict=True)])
        for source in sources:
            forget_pages(source)
        at = ends


def _counted(parts: Sequence[UidArray]) -> Step:
    if len(parts) == 1:
        uids, counts = multiplicities(parts[0])
        return Step(uids, counts[np.newaxis])
    distinct, copies = zip(*map(multiplicities, parts), strict=True)
    together = np.concatenate(distinct)
    # A stable sort merges runs that are sorted already; by the upper halves alone this is right but for rare uids.
    order = np.argsort(together["f0"], kind="stable")
    if first_unsorted(together[order]) is not None:
        order = np.lexsort((together["f1"], together["f0"]))
    uids, sources = multiplicities(together[order])
    counts = np.zeros((len(parts), len(uids)), dtype=np.int64)
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in distinct])[order]
    counts[owners, np.repeat(np.arange(len(uids)), sources)] = np.concatenate(copies)[order]
    return Step(uids, counts)


def position(ordered: NDArray[np.void], uid: Any, low: int, high: int, *, after: bool = False) -> int:
    """Where a row (a tuple; ``None`` at the end) belongs in sorted ``ordered[low:high]``: before or after equals."""
    if uid is None:
        return high
    search = bisect_right if after else bisect_left
    return low + search(range(low, high), uid, key=lambda position: ordered[position].item())


class SubsetWriter:
    """Appends uids, in ascending order, to a subset file; ``rows`` says how many there are."""

    def __init__(self, stream: BinaryIO) -> None:
        self.rows = 0
        self._stream = stream
        self._write_header()

    def add(self, uids: UidArray, copies: Counts) -> None:
        """Append each uid as often as ``copies`` (not negative) says; any number of copies takes little memory."""
        rows = int(copies.sum())
        if len(uids) > 1 and rows > _BLOCK_ROWS:
            half = len(uids) // 2
            self.add(uids[:half], copies[:half])
            self.add(uids[half:], copies[half:])
            return
        for start in range(0, rows, _BLOCK_ROWS):
            block = np.repeat(uids, copies if len(uids) > 1 else min(_BLOCK_ROWS, rows - start))
            self._stream.write(block.data)
        self.rows += rows

    def finish(self) -> None:
        """Put the length into the header, which NumPy pads so that it is as long for any number of rows."""
        end = self._stream.tell()
        self._stream.seek(0)
        self._write_header()
        assert end == self._stream.tell() + self.rows * UID_DTYPE.itemsize
        self._stream.seek(end)

    def _write_header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(UID_DTYPE), "fortran_order": False, "shape": (self.rows,)}
        np.lib.format.write_array_header_1_0(self._stream, header)


@contextmanager
def subset_writer(path: Path) -> Iterator[SubsetWriter]:
    """A subset file that appears whole or not at all, byte-identical to ``numpy.save`` of all its uids.

    Raises:
        StorageError: the disk is full or the path cannot be written.
    """
    with atomic_writer(path) as stream:
        writer = SubsetWriter(stream)
        yield writer
        writer.finish()


def count_in_file(keys: UidArray, ordered: UidArray) -> Counts:
    """``count_in`` of a sorted, memory-mapped array that may not fit in memory: it is searched where it lies."""
    if len(ordered) <= _IN_MEMORY_ROWS:
        return count_in(keys, ordered)
    return _search(keys, ordered, after=True) - _search(keys, ordered, after=False)


def _search(keys: UidArray, ordered: UidArray, *, after: bool) -> Counts:
    """Bisection of all keys side by side: the position before or behind the key's equals."""
    low = np.zeros(len(keys), dtype=np.int64)
    high = np.full(len(keys), len(ordered), dtype=np.int64)
    rows = np.arange(len(keys))
    while len(rows):
        middle = (low[rows] + high[rows]) // 2
        here, key = ordered[middle], keys[rows]
        below = here["f1"] <= key["f1"] if after else here["f1"] < key["f1"]
        right = (here["f0"] < key["f0"]) | ((here["f0"] == key["f0"]) & below)
        low[rows[right]] = middle[right] + 1
        high[rows[~right]] = middle[~right]
        rows = rows[low[rows] < high[rows]]
    return low
