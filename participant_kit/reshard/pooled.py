"""The selections of all pool shards as one, for an output whose shards take samples from everywhere.

Two files of records, sample by sample in pool order, of which an output shard reads only its own. Without them every
output shard would read the selection of every pool shard: a global shuffle of a large pool would not end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import atomic_writer, storage_errors
from competition.data.sample_table import SampleTable
from competition.data.uids import UID_DTYPE, UidArray
from participant_kit.reshard.selection import Selection, load_selection

_SAMPLE = np.dtype([("uid", UID_DTYPE), ("start", "<i8"), ("stop", "<i8"), ("first", "<i8"), ("last", "<i8")])
_MEMBER = np.dtype([("offset", "<i8"), ("size", "<i8"), ("kind", "<i8")])


@dataclass(frozen=True, slots=True)
class PooledSelections:
    """All selected samples of a pool.

    Args:
        samples: file of their records: uid, place in the tar, first member and the one behind the last.
        members: file of the records of their members.
        extensions: what the members' kinds mean.
    """

    samples: Path
    members: Path
    extensions: tuple[str, ...]

    def take(self, rows: NDArray[np.int64]) -> tuple[UidArray, SampleTable]:
        """Some samples in the given order, by their number in pool order; only their records are read."""
        order = np.argsort(rows, kind="stable")
        samples = np.empty(len(rows), dtype=_SAMPLE)
        with storage_errors("reading", self.samples):
            samples[order] = np.memmap(self.samples, dtype=_SAMPLE, mode="r")[rows[order]]
        counts = samples["last"] - samples["first"]
        firsts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        chosen = np.repeat(samples["first"] - firsts[:-1], counts) + np.arange(firsts[-1])
        with storage_errors("reading", self.members):
            members = np.memmap(self.members, dtype=_MEMBER, mode="r")[chosen]
        offsets, sizes, kinds = (members[name].copy() for name in ("offset", "size", "kind"))
        starts, stops = samples["start"].copy(), samples["stop"].copy()
        table = SampleTable(starts, stops, firsts, offsets, sizes, kinds, self.extensions)
        return samples["uid"].copy(), table


def pool_selections(paths: Sequence[Path], samples: Path, members: Path) -> PooledSelections:
    """Put the selections of pool shards, in order, behind one another; one of them is in memory at a time.

    Raises:
        StorageError: the disk is full, or a selection cannot be read.
    """
    numbers: dict[str, int] = {}
    behind = 0
    with atomic_writer(samples, synced=False) as sample_stream, atomic_writer(members, synced=False) as member_stream:
        for path in paths:
            behind = _append(load_selection(path), behind, numbers, sample_stream, member_stream)
    return PooledSelections(samples, members, tuple(numbers))


def _append(selection: Selection, behind: int, numbers: dict[str, int], samples: BinaryIO, members: BinaryIO) -> int:
    """Add the records of a selection whose members follow ``behind`` others; returns how many there are then."""
    table = selection.table
    rows = np.empty(len(table), dtype=_SAMPLE)
    rows["uid"], rows["start"], rows["stop"] = selection.uids, table.starts, table.stops
    rows["first"], rows["last"] = table.firsts[:-1] + behind, table.firsts[1:] + behind
    kinds = np.array([numbers.setdefault(name, len(numbers)) for name in table.extensions], dtype=np.int64)
    content = np.empty(len(table.kinds), dtype=_MEMBER)
    content["offset"], content["size"] = table.offsets, table.sizes
    if len(content):
        content["kind"] = kinds[table.kinds]
    samples.write(rows.view(np.uint8).data if len(rows) else b"")
    members.write(content.view(np.uint8).data if len(content) else b"")
    return behind + len(content)
