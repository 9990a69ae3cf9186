"""From rows that were chosen by their features to uids."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from competition.data.metadata import read_uids
from competition.data.uids import UidArray
from competition.data.vector_source import Rows, VectorSource
from participant_kit.subsets.pool import MetadataPool


def chosen_uids(pool: MetadataPool, source: VectorSource, rows: Rows) -> UidArray:
    """The uids of some rows of a pool, in their order.

    Args:
        pool: the metadata.
        source: its features, see ``VectorSource.of_metadata``.
        rows: numbers in the source, ascending.
    """
    starts = {path.name: (shard.start, shard.rows) for path, shard in zip(pool.files, source.shards, strict=True)}
    return np.concatenate(pool.map(partial(_file_uids, starts, rows), "reading uids", quick=True))


def _file_uids(starts: dict[str, tuple[int, int]], rows: Rows, path: Path) -> UidArray:
    start, count = starts[path.name]
    first, end = np.searchsorted(rows, (start, start + count))
    uids: UidArray = read_uids(path)[rows[first:end] - start]
    return uids
