"""Sorting uids that do not fit in memory: sorted files merged block by block (an external merge sort's second half)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from competition.data.uids import UID_DTYPE, UidArray, forget_pages, load_subset, save_blocks, sort_uids

MEMORY_ROWS = 1 << 22
"""Uids that are in memory at a time: 64 MiB, and about four times as much while they are sorted."""

MAPPED = 128
"""Files that are mapped at a time: a process may often have no more than 1,024 open, or 256."""


def merge_subsets(parts: Sequence[Path], target: Path, memory_rows: int = MEMORY_ROWS) -> UidArray:
    """All uids of sorted subset files, sorted; a uid occurs as often as in all of them together.

    Few uids are merged in memory. More than ``memory_rows`` go to the file ``target`` and come back memory-mapped, so
    that memory depends neither on their number nor on the number of parts. A mapped file is an open one: more than
    ``MAPPED`` parts are merged in groups first, into files beside the target that are removed again.

    Args:
        parts: sorted subset files.
        target: a ``.npy`` to write if need be; an existing one is replaced.
        memory_rows: how many uids may be in memory.

    Raises:
        DataFormatError: a part is damaged or unsorted.
        StorageError: a file cannot be read or written.
    """
    small: list[UidArray] = [np.zeros(0, dtype=UID_DTYPE)]
    total = 0
    for path in parts:
        run = load_subset(path)
        total += len(run)
        if total > memory_rows:
            break
        small.append(np.array(run))
    else:
        return sort_uids(np.concatenate(small))
    del small
    _merge_files(parts, target, memory_rows)
    return load_subset(target)


def _merge_files(parts: Sequence[Path], target: Path, memory_rows: int) -> None:
    groups = [parts[start : start + MAPPED] for start in range(0, len(parts), MAPPED)]
    if len(groups) == 1:
        runs = [load_subset(path) for path in parts]
        save_blocks(target, sum(map(len, runs)), merged_blocks(runs, memory_rows))
        return
    merged = [target.with_name(f"{target.name}.{number}.npy") for number in range(len(groups))]
    try:
        for group, path in zip(groups, merged, strict=True):
            _merge_files(group, path, memory_rows)
        _merge_files(merged, target, memory_rows)
    finally:
        for path in merged:
            path.unlink(missing_ok=True)


def merged_blocks(runs: Sequence[UidArray], memory_rows: int) -> Iterator[UidArray]:
    """The sorted union of sorted arrays in blocks of about ``memory_rows`` uids.

    A window of equal length is looked at in every run that is not used up. The least of the windows' last uids bounds
    what may go out: no run holds anything smaller behind its window. The run with that bound gives all its window, so
    every round makes progress, whatever the uids are.
    """
    unread = [run for run in runs if len(run)]
    while unread:
        width = max(1, memory_rows // len(unread))
        lasts = [run[width - 1].item() for run in unread if len(run) > width]
        bound = min(lasts) if lasts else None
        taken = [_up_to(run[:width], bound) for run in unread]
        yield sort_uids(np.concatenate(taken))
        for run in unread:
            forget_pages(run)
        rest = [run[len(part) :] for run, part in zip(unread, taken, strict=True)]
        unread = [run for run in rest if len(run)]


def _up_to(window: UidArray, bound: tuple[int, int] | None) -> UidArray:
    """The uids of a sorted window that are not greater than ``bound``."""
    if bound is None:
        return window
    f0, (bound0, bound1) = window["f0"], bound
    low, high = np.searchsorted(f0, np.uint64(bound0), "left"), np.searchsorted(f0, np.uint64(bound0), "right")
    return window[: low + np.searchsorted(window["f1"][low:high], np.uint64(bound1), "right")]
