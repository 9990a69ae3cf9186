"""A random part of a subset: exactly as many rows as asked for, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from competition.data.uids import UID_DTYPE, UidArray, forget_pages
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.subsets.algebra import open_subsets, record_operation, report_rows
from participant_kit.subsets.draw import lots
from participant_kit.subsets.ranking import Keys, Share, nth_least
from participant_kit.subsets.record import SubsetReport
from participant_kit.subsets.stream import STEP_ROWS, Counts, subset_writer

PURPOSE = 3


def sample_subset(
    subset: Path,
    save_path: Path,
    share: Share,
    seed: int = 0,
    progress: ProgressHook | None = None,
    step_rows: int = STEP_ROWS,
) -> SubsetReport:
    """Draw rows without replacement; every row has the same chance, and the copies of one uid are rows of their own.

    A row's lot depends on its uid, on which copy it is, and on the seed alone, and the rows with the least lots are
    kept. So a smaller sample of one seed is part of a larger one, and samples of two subsets share what they can.

    Args:
        subset: a sorted subset file.
        save_path: as of ``combine_subsets``.
        share: of the subset's rows; a fraction of them is ``int(rows * fraction)`` rows.
        seed: not negative; recorded.
        progress: told after every step; counts uids.
        step_rows: uids in memory at a time.

    Raises:
        UsageError: the share is out of range, a negative seed, or a bad save path.
        DataFormatError: the subset is damaged or unsorted.
        StorageError: a file cannot be read or written.
    """
    if seed < 0:
        raise UsageError(f"--seed {seed} is negative.")
    (source,) = open_subsets([subset], save_path)
    wanted = share.rows(len(source))

    with subset_writer(save_path) as writer:
        if wanted:
            last, ties = nth_least(lambda: _passes(source, seed, step_rows, progress), wanted - 1)
            for uids, drawn in _drawn(source, seed, step_rows, progress):
                kept = drawn < last
                # Rows that tie with the last one (64 bits hardly ever do) are taken in order until it is enough.
                equal = np.flatnonzero(drawn == last)[: max(0, ties + 1)]
                kept[equal] = True
                ties -= len(equal)
                writer.add(uids[kept], np.ones(np.count_nonzero(kept), dtype=np.int64))
    options = {"seed": seed, **share.options()}
    dropped = {"not_drawn": len(source) - writer.rows}
    return record_operation(
        "sample", options, [subset], save_path, total=len(source), kept=writer.rows, dropped=dropped
    )


def _passes(
    source: UidArray, seed: int, step_rows: int, progress: ProgressHook | None
) -> Iterator[tuple[Keys, Counts]]:
    for _, drawn in _drawn(source, seed, step_rows, progress):
        yield drawn, np.ones(len(drawn), dtype=np.int64)


def _drawn(
    source: UidArray, seed: int, step_rows: int, progress: ProgressHook | None
) -> Iterator[tuple[UidArray, Keys]]:
    """Blocks of rows with their lots: that of the uid and the number of the copy."""
    run_start, before = 0, None
    for start in range(0, len(source), step_rows):
        uids = np.array(source[start : start + step_rows])
        forget_pages(source)
        new = np.ones(len(uids), dtype=bool)
        new[1:] = uids[1:] != uids[:-1]
        new[0] = before is None or uids[0] != before
        positions = np.arange(start, start + len(uids))
        first = np.maximum.accumulate(np.where(new, positions, run_start))
        run_start, before = int(first[-1]), uids[-1]
        row = np.empty(len(uids), dtype=UID_DTYPE)
        row["f0"], row["f1"] = lots(uids, seed, PURPOSE), positions - first
        report_rows(progress, "drawing lots", uids, [source])
        yield uids, lots(row, seed, PURPOSE)
