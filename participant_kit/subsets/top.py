"""The best part of a subset by a number of the pool's metadata."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder
from competition.data.engine import Workers
from competition.data.journal import Journal
from competition.data.metadata import column_uids, read_columns
from competition.data.uids import UID_DTYPE, UidArray, count_in, load_subset
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.subsets.algebra import input_roles, open_subsets
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.ranking import Keys, Share, float_keys, integer_keys, nth_least
from participant_kit.subsets.record import SubsetReport
from participant_kit.subsets.result import SubsetResult
from participant_kit.subsets.run import Choice, run_choice
from participant_kit.subsets.stream import Counts, count_in_file, position, steps, subset_writer

ABSENT = np.uint64(0)
"""Key of a uid that the metadata does not have."""
MISSING = np.uint64(1)
"""Key of a uid whose rows all have null or NaN. Every number's key is greater."""

_KEYED_DTYPE = np.dtype([("f0", "<u8"), ("f1", "<u8"), ("key", "<u8")])


def top_subset(
    subset: Path,
    column: str,
    metadata_dir: Path,
    save_path: Path,
    share: Share,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> SubsetReport:
    """Keep the rows of a subset with the greatest values of a metadata column, and all that tie with the last one.

    The value of a uid is the greatest of its metadata rows; its copies share it and stay together. With a *count* of n,
    the least value kept is the n-th greatest of the subset's rows, copies counted. With a *fraction*, it is the
    (n+1)-th greatest where n = ``int(rows * fraction)``: as DataComp's ``clip_score`` does over a whole pool. Rows
    without a value (null, NaN, or no metadata) count in ``rows`` and are never kept; where fewer rows than that have
    one, all of them are kept.

    Args:
        subset: a sorted subset file.
        column: an integer or floating column; compared exactly.
        metadata_dir: the pool's metadata folder.
        save_path: as of ``combine_subsets``.
        share: of the subset's rows.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every metadata file.

    Raises:
        UsageError: the share is out of range, the column is no number, a bad path.
        DataFormatError: an input is damaged or unsorted, or a metadata file lacks the column.
        StorageError: a file cannot be read or written.
    """
    (source,) = open_subsets([subset], save_path)
    wanted = share.rows(len(source))
    rank = wanted - 1 if share.fraction is None else wanted
    options = {"by": column, **share.options()}
    select = partial(_select, subset, source, column, rank)
    return run_choice(Choice("top", options, select, input_roles([subset])), metadata_dir, save_path, workers, progress)


def _select(subset: Path, source: UidArray, column: str, rank: int, pool: MetadataPool) -> SubsetResult:
    """Values go to files by metadata file, then to one file in the subset's order, which three further passes read."""
    work_dir = pool.work_dir
    assert work_dir is not None
    make_folder(work_dir)
    journal = Journal(work_dir / "journal.jsonl", pool.fingerprint)
    for name in journal.completed:
        if not _part_path(work_dir, Path(name)).exists():
            journal.forget(name)
    kinds = pool.map(partial(_file_keys, subset, column, work_dir), f"reading {column}", journal)
    if len(set(kinds)) > 1:
        raise UsageError(f"The column {column!r} is an integer in some metadata files and floating in others.")
    keys = work_dir / "keys"
    with atomic_writer(keys) as stream:
        for block in _in_order(source, [_part_path(work_dir, path) for path in pool.files]):
            stream.write(block.data)
    return _keep(source, keys, rank, work_dir / "top")


def _keep(source: UidArray, keys: Path, rank: int, target: Path) -> SubsetResult:
    absent = missing = valid = 0
    for _, copies, drawn in _keyed_steps(source, keys):
        absent += int(copies[drawn == ABSENT].sum())
        missing += int(copies[drawn == MISSING].sum())
        valid += int(copies[drawn > MISSING].sum())
    least = MISSING + np.uint64(1)
    if rank < valid:
        least, _ = nth_least(lambda: _valid_passes(source, keys), valid - 1 - rank)
    with subset_writer(target) as writer:
        for uids, copies, drawn in _keyed_steps(source, keys):
            writer.add(uids, np.where(drawn >= least, copies, 0))
    dropped = {"not_in_metadata": absent, "value_missing": missing, "value_too_low": valid - writer.rows}
    return SubsetResult(load_subset(target), len(source), dropped)


def _keyed_steps(source: UidArray, path: Path) -> Iterator[tuple[UidArray, Counts, Keys]]:
    """Distinct uids of the subset with their copies and keys."""
    at = 0
    keys: Keys = np.memmap(path, dtype="<u8", mode="r") if len(source) else np.zeros(0, dtype=np.uint64)
    for uids, counts in steps([source]):
        yield uids, counts[0], np.array(keys[at : at + len(uids)])
        at += len(uids)


def _valid_passes(source: UidArray, path: Path) -> Iterator[tuple[Keys, Counts]]:
    for _, copies, keys in _keyed_steps(source, path):
        yield keys[keys > MISSING], copies[keys > MISSING]


def _file_keys(subset: Path, column: str, work_dir: Path, path: Path) -> str:
    """Runs in a worker: keys of the subset's uids in one metadata file, sorted by uid; says which kind of number."""
    table = read_columns(path, ["uid", column])
    kind, keys = _keys(pl.Series(values=table.column(column)), column, path)
    uids = column_uids(table, path)
    inside = count_in_file(uids, load_subset(subset, require_sorted=False)) > 0
    keyed = np.empty(np.count_nonzero(inside), dtype=_KEYED_DTYPE)
    keyed["f0"], keyed["f1"], keyed["key"] = uids["f0"][inside], uids["f1"][inside], keys[inside]
    with atomic_writer(_part_path(work_dir, path)) as stream:
        write_npy(stream, _greatest(keyed))
    return kind


def _keys(values: Any, column: str, path: Path) -> tuple[str, Keys]:
    if values.dtype.is_integer() and values.dtype != pl.UInt64:
        kind, keys = "integer", integer_keys(values.fill_null(0).cast(pl.Int64).to_numpy())
    elif values.dtype.is_float():
        numbers = values.cast(pl.Float64)
        kind, keys = "floating", float_keys(numbers.fill_null(0.0).to_numpy())
        keys[numbers.is_nan().fill_null(value=False).to_numpy()] = MISSING
    else:
        raise UsageError(
            f"The column {column!r} of {path} is {values.dtype}, which is no number to rank by.",
            hint="Choose a score or a size, for instance clip_l14_similarity_score.",
        )
    keys[values.is_null().to_numpy()] = MISSING
    return kind, keys


def _greatest(keyed: NDArray[np.void]) -> NDArray[np.void]:
    """One row for each uid, with its greatest key; sorted by uid."""
    ordered = keyed[np.lexsort((keyed["key"], keyed["f1"], keyed["f0"]))]
    last = np.ones(len(ordered), dtype=bool)
    last[:-1] = (ordered["f0"][1:] != ordered["f0"][:-1]) | (ordered["f1"][1:] != ordered["f1"][:-1])
    return ordered[last]


def _in_order(source: UidArray, parts: list[Path]) -> Iterator[Keys]:
    """Keys of the subset's distinct uids, in their order. All uids of the parts are in the subset."""
    at = [0] * len(parts)
    for uids, _ in steps([source]):
        bound = (*uids[-1].item(), np.iinfo(np.uint64).max)
        windows = []
        for number, path in enumerate(parts):  # one is open at a time: there may be more than a process may have open
            part = _load_part(path)
            end = position(part, bound, at[number], len(part), after=True)
            windows.append(np.array(part[at[number] : end]))
            at[number] = end
        found = _greatest(np.concatenate(windows))
        pairs = np.empty(len(found), dtype=UID_DTYPE)
        pairs["f0"], pairs["f1"] = found["f0"], found["f1"]
        keys = np.full(len(uids), ABSENT, dtype=np.uint64)
        keys[count_in(uids, pairs) > 0] = found["key"]
        yield keys


def _part_path(work_dir: Path, path: Path) -> Path:
    return work_dir / f"{path.stem}.npy"


def _load_part(path: Path) -> NDArray[np.void]:
    part: NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
    return part
