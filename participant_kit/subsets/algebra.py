"""Subsets from subsets. A subset is a multiset: a uid that stands *c* times in it means *c* copies of the sample.

With :math:`m_X(u)` for how often the uid *u* stands in *X*, 0 where it does not:

========= ===================================================== ==================================================
``and``   least of m_A(u), m_B(u), …                            copies that all have
``or``    greatest of m_A(u), m_B(u), …                         as many copies as the one with most
``minus`` m_A(u) − m_B(u) − … , 0 where that is negative        copies of A that the others do not use up
weights   w_A·m_A(u) + w_B·m_B(u) + …                           every subset as often as its weight says, all together
========= ===================================================== ==================================================

For subsets without repeated uids, the first three are the operations on sets. All pass once over memory-mapped files
in uid order, with memory that depends on neither their number nor their length; results are sorted, and are the same
bytes whatever is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from competition.data.atomic import make_folder
from competition.data.digests import file_sha256
from competition.data.uids import UidArray, load_subset
from competition.errors import UsageError
from competition.progress import Progress, ProgressHook
from participant_kit.subsets.record import SubsetReport, check_save_path, digests
from participant_kit.subsets.stream import STEP_ROWS, Counts, steps, subset_writer

MOST_WEIGHT = 1_000_000

Combination = Callable[[Counts], tuple[Counts, dict[str, int]]]
"""From counts of shape (subsets, uids) to copies of each uid, and the rows that were dropped, by reason."""


def _and(counts: Counts) -> tuple[Counts, dict[str, int]]:
    """A row that all subsets have is kept once; the others' rows are the same sample again."""
    copies = counts.min(axis=0)
    common = int(copies.sum())
    same = (len(counts) - 1) * common
    return copies, {"not_in_all": int(counts.sum()) - common - same, "same_row_of_another": same}


def _or(counts: Counts) -> tuple[Counts, dict[str, int]]:
    copies = counts.max(axis=0)
    return copies, {"same_row_of_another": int(counts.sum() - copies.sum())}


def _minus(counts: Counts) -> tuple[Counts, dict[str, int]]:
    """Rows of the first subset only are counted; those of the others are no candidates."""
    copies = np.maximum(counts[0] - counts[1:].sum(axis=0), 0)
    return copies, {"subtracted": int(counts[0].sum() - copies.sum())}


OPERATIONS: Mapping[str, Combination] = MappingProxyType({"and": _and, "or": _or, "minus": _minus})


def combine_subsets(
    operation: str,
    subsets: Sequence[Path],
    save_path: Path,
    progress: ProgressHook | None = None,
    step_rows: int = STEP_ROWS,
) -> SubsetReport:
    """Write ``A and B``, ``A or B`` or ``A minus B`` of two or more subsets, with a record.

    Args:
        operation: a name of ``OPERATIONS``.
        subsets: sorted subset files; ``minus`` takes all the others from the first.
        save_path: the ``.npy`` to write; the record goes to ``<save_path>.json``. Existing ones are replaced.
        progress: told after every step; counts uids.
        step_rows: uids in memory at a time.

    Raises:
        UsageError: unknown operation, fewer than two subsets, or a save path that is no subset's or is an input.
        DataFormatError: an input is damaged or unsorted.
        StorageError: a file cannot be read or written.
    """
    if operation not in OPERATIONS:
        raise UsageError(f"There is no operation {operation!r}.", hint=f"Choose one of: {', '.join(OPERATIONS)}.")
    if len(subsets) < 2:
        raise UsageError(f"The operation {operation} needs at least two subsets; one is given.")
    sources = open_subsets(subsets, save_path)
    total = len(sources[0]) if operation == "minus" else sum(map(len, sources))
    dropped: dict[str, int] = {}
    with subset_writer(save_path) as writer:
        for uids, counts in steps(sources, step_rows):
            copies, reasons = OPERATIONS[operation](counts)
            writer.add(uids, copies)
            dropped = {reason: dropped.get(reason, 0) + count for reason, count in reasons.items()}
            report_rows(progress, f"{operation}", uids, sources)
    return record_operation(operation, {}, subsets, save_path, total=total, kept=writer.rows, dropped=dropped)


def weigh_subsets(
    weights: Sequence[tuple[Path, int]],
    save_path: Path,
    progress: ProgressHook | None = None,
    step_rows: int = STEP_ROWS,
) -> SubsetReport:
    """Write every subset as often as its weight says, all together: with all weights 1, their sum as multisets.

    Args:
        weights: subset files, each with a whole number from 1 to ``MOST_WEIGHT``.
        save_path: as of ``combine_subsets``.
        progress: told after every step; counts uids.
        step_rows: uids in memory at a time.

    Raises:
        UsageError: no subset, a weight out of range, or a save path that is no subset's or is an input.
        DataFormatError: an input is damaged or unsorted.
        StorageError: a file cannot be read or written.
    """
    if not weights:
        raise UsageError("No subset is given to weigh.")
    for path, weight in weights:
        if not 1 <= weight <= MOST_WEIGHT:
            raise UsageError(f"The weight {weight} of {path} is not between 1 and {MOST_WEIGHT}.")
    subsets = [path for path, _ in weights]
    factors = np.array([weight for _, weight in weights], dtype=np.int64)
    sources = open_subsets(subsets, save_path)
    with subset_writer(save_path) as writer:
        for uids, counts in steps(sources, step_rows):
            writer.add(uids, factors @ counts)
            report_rows(progress, "weights", uids, sources)
    options = {"weights": factors.tolist()}
    return record_operation("weights", options, subsets, save_path, total=sum(map(len, sources)), kept=writer.rows)


def open_subsets(subsets: Sequence[Path], save_path: Path) -> list[UidArray]:
    """The inputs of an operation, memory-mapped and found to be sorted, when its output is another file.

    Raises:
        UsageError: the save path is no subset's, or is an input: its record would be lost.
        DataFormatError: an input is damaged or unsorted.
        StorageError: a file cannot be read, or the folder of the output cannot be made.
    """
    check_save_path(save_path)
    for path in subsets:
        if path.resolve() == save_path.resolve():
            raise UsageError(f"The save path {save_path} is one of the inputs.", hint="Give the result a new name.")
    make_folder(save_path.parent)
    return [load_subset(path) for path in subsets]


def record_operation(
    name: str,
    options: Mapping[str, Any],
    subsets: Sequence[Path],
    save_path: Path,
    *,
    total: int,
    kept: int,
    dropped: Mapping[str, int] = MappingProxyType({}),
) -> SubsetReport:
    """Write and return the record of a subset that was made from ``subsets``, which it names by digest."""
    report = SubsetReport(
        strategy=name,
        options=dict(options),
        metadata_files=0,
        total=total,
        kept=kept,
        dropped=dict(dropped),
        repeats=kept + sum(dropped.values()) - total,
        assets=digests(input_roles(subsets)),
        tools={},
        subset=save_path.name,
        subset_sha256=file_sha256(save_path),
    )
    assert report.repeats >= 0
    report.write(save_path)
    return report


def input_roles(subsets: Sequence[Path]) -> dict[str, Path]:
    """What a record calls the inputs of an operation: ``subset_1``, ``subset_2``, …"""
    return {f"subset_{number}": path for number, path in enumerate(subsets, 1)}


def report_rows(progress: ProgressHook | None, stage: str, uids: UidArray, sources: Sequence[UidArray]) -> None:
    """Say how far a pass has come: uids up to the last of this step, estimated by its leading digits."""
    if progress is not None and len(uids):
        total = sum(map(len, sources))
        progress(Progress(stage, int(total * (int(uids["f0"][-1]) + 1) / 2**64), total))
