"""Pass one over a pool shard: which of its samples does the subset name, and where do their members lie."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, storage_errors
from competition.data.sample_table import SampleTable, Texts, scan_ranges
from competition.data.sample_uids import MALFORMED, read_uids, well_formed
from competition.data.shards import Shard, scan_samples
from competition.data.tar import Buffer, damaged, open_tar
from competition.data.tar_headers import MAX_NAME_BYTES
from competition.data.uids import UID_DIGITS, UidArray, count_in, load_subset, parse_uids
from competition.errors import DataFormatError
from participant_kit.pools.index import IndexedShard, scan_shard

TOO_LONG = "extension too long"

_IN_MEMORY = 1 << 22
"""Entries up to which a subset is searched in memory; a larger one stays on disk, where a search touches few pages."""


class Selection(NamedTuple):
    """The selected samples of a pool shard, in order: ``uids``, ``copies`` (int64, at least 1) and their members."""

    uids: UidArray
    copies: NDArray[np.int64]
    table: SampleTable


@dataclass(frozen=True, slots=True)
class Found:
    """What pass one found in a shard, beside the selection itself.

    Args:
        selection: the selected samples.
        processed: samples that have a uid.
        skipped: samples without, by reason.
        lost: entries of the subset whose sample is here but cannot be looked up in the tar.
        unknown: samples without, whose uid img2dataset's log does not tell either: they may be selected.
        damage: what is wrong with the tar; its samples up to there are found.
        log_damage: what is wrong with the log, which is then as good as absent.
    """

    selection: Selection
    processed: int
    skipped: Counter[str]
    lost: int
    unknown: int
    damage: str | None
    log_damage: str | None


def select(shard: Shard, indexed: IndexedShard | None, subset_path: Path) -> Found:
    """Look up the samples of a pool shard in a subset, through the pool's index if there is one."""
    subset = load_subset(subset_path, require_sorted=False)
    with open_tar(shard.path) as buffer:
        if indexed is None:
            content, everything, texts = scan_shard(buffer, shard.path)
            copies = count_copies(content.uids, subset)
            rows = np.flatnonzero(copies)
            sound = well_formed(buffer, everything, content.rows[rows], texts)
            table = everything.take(content.rows[rows[sound]])
        else:
            content = indexed
            copies = count_copies(content.uids, subset)
            rows = np.flatnonzero(copies)
            table, texts = _at(buffer, shard, content, rows)
            sound = well_formed(buffer, table, np.arange(len(rows)), texts)
            table = table.take(np.flatnonzero(sound))
        unread = _look_up_in_log(shard, buffer, content.unread, subset)
    skipped = Counter(content.skipped)
    lost = int(copies[rows[~sound]].sum()) + unread.lost
    rows = rows[sound]
    fitting = _names_fit(table, copies[rows])
    for reason, count in ((MALFORMED, int((~sound).sum())), (TOO_LONG, int((~fitting).sum()))):
        if count:
            skipped[reason] += count
    processed = len(content.uids) - int((~sound).sum()) - int((~fitting).sum())
    if not fitting.all():
        rows, table = rows[fitting], table.take(np.flatnonzero(fitting))
    selection = Selection(content.uids[rows], copies[rows], table)
    return Found(selection, processed, skipped, lost, unread.unknown, content.damage, unread.damage)


def _names_fit(table: SampleTable, copies: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each sample: a tar's header has room for ``<uid>-<copy>.<extension>`` of all its members and copies."""
    lengths = np.array([len(extension.encode()) for extension in table.extensions], dtype=np.int64)
    fixed = UID_DIGITS + len("-.")
    if fixed + len(str(copies.max(initial=1) - 1)) + lengths.max(initial=0) <= MAX_NAME_BYTES:
        return np.ones(len(copies), dtype=bool)
    room = MAX_NAME_BYTES - fixed - np.char.str_len((copies - 1).astype(np.str_))
    samples = np.repeat(np.arange(len(copies)), np.diff(table.firsts))
    fitting = np.ones(len(copies), dtype=bool)
    fitting[samples[lengths[table.kinds] > room[samples]]] = False
    return fitting


def _at(buffer: Buffer, shard: Shard, content: IndexedShard, rows: NDArray[np.int64]) -> tuple[SampleTable, Texts]:
    """The members of samples of which the pool's index knows the place; the uid must be there."""
    table, texts = scan_ranges(buffer, shard.path, content.starts[rows], content.stops[rows])
    found = read_uids(buffer, table, texts)
    if len(found.rows) != len(rows) or (found.uids != content.uids[rows]).any():
        raise damaged(shard.path, 0, "it does not hold what the pool's index says")
    return table, texts


def count_copies(keys: UidArray, subset: UidArray) -> NDArray[np.int64]:
    """How often each key occurs in a sorted subset, which may be larger than memory."""
    if len(subset) <= _IN_MEMORY:
        return count_in(keys, subset)
    return _bisect(subset, keys, right=True) - _bisect(subset, keys, right=False)


def _bisect(ordered: UidArray, keys: UidArray, *, right: bool) -> NDArray[np.int64]:
    low = np.zeros(len(keys), dtype=np.int64)
    high = np.full(len(keys), len(ordered), dtype=np.int64)
    while (low < high).any():
        middle = np.minimum((low + high) // 2, len(ordered) - 1)
        here = ordered[middle]
        above = (here["f0"] < keys["f0"]) | ((here["f0"] == keys["f0"]) & (here["f1"] < keys["f1"]))
        if right:
            above |= here == keys
        open_ = low < high
        low = np.where(open_ & above, middle + 1, low)
        high = np.where(open_ & ~above, middle, high)
    return low


class _Unread(NamedTuple):
    """Samples without uid: entries of the subset that are lost with them, samples of which nobody knows, bad logs."""

    lost: int
    unknown: int
    damage: str | None


def _look_up_in_log(shard: Shard, buffer: Buffer, unread: NDArray[np.int64], subset: UidArray) -> _Unread:
    """What img2dataset's log knows of the samples whose json gives no uid.

    Args:
        shard: its log is the parquet file beside it, with columns ``key`` and ``uid``; it may be absent.
        buffer: the opened tar.
        unread: int64 [n, 2], first and last byte of those samples.
        subset: sorted.
    """
    log = shard.path.with_suffix(".parquet")
    if not len(unread) or not log.exists():
        return _Unread(0, len(unread), None)
    keys = [next(scan_samples(buffer, shard.path, start, stop)).key for start, stop in unread.tolist()]
    try:
        logged = _logged_uids(log)
        known = [logged[key] for key in keys if key in logged]
        return _Unread(int(count_copies(parse_uids(known), subset).sum()), len(keys) - len(known), None)
    except (DataFormatError, ValueError, TypeError, OSError) as error:
        reason = error.message if isinstance(error, DataFormatError) else (str(error).splitlines() or ["?"])[0]
        unclear = f"which of the {len(keys)} samples without json in {shard.name} are selected is not known."
        return _Unread(0, len(keys), f"The log {log} is damaged ({reason.rstrip('.')}): {unclear}")


def _logged_uids(log: Path) -> dict[str, str]:
    """The uid of every sample key that a log has one for; none of a log of other columns."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(log) as parquet:
        if not {"key", "uid"} <= set(parquet.schema_arrow.names):
            return {}
        rows = parquet.read(columns=["key", "uid"]).to_pydict()
    return {str(key): uid for key, uid in zip(rows["key"], rows["uid"], strict=True) if uid}


def save_selection(path: Path, selection: Selection) -> None:
    """Write a selection as one file of consecutive ``.npy`` arrays."""
    extensions = [extension.encode() for extension in selection.table.extensions]
    with atomic_writer(path, synced=False) as stream:
        for array in (
            selection.uids,
            selection.copies,
            selection.table.starts,
            selection.table.stops,
            selection.table.firsts,
            selection.table.offsets,
            selection.table.sizes,
            selection.table.kinds,
            np.array(extensions, dtype=np.bytes_),
        ):
            write_npy(stream, array)


def load_selection(path: Path) -> Selection:
    """Read what ``save_selection`` wrote."""
    with storage_errors("reading", path), path.open("rb") as stream:
        arrays: list[Any] = [np.lib.format.read_array(stream, allow_pickle=False) for _ in range(9)]
    extensions = tuple(extension.decode() for extension in arrays[8].tolist())
    uids, copies, starts, stops, firsts, offsets, sizes, kinds, _ = arrays
    return Selection(uids, copies, SampleTable(starts, stops, firsts, offsets, sizes, kinds, extensions))
