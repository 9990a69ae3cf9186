"""Searching a whole pool for the nearest samples of many queries, file by file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder
from competition.data.metadata import column_uids, read_columns
from competition.errors import UsageError
from participant_kit.labelled.candidates import Candidates
from participant_kit.labelled.features import pool_features
from participant_kit.labelled.neighbours import Neighbours, nearest_rows
from participant_kit.labelled.run import samples
from participant_kit.subsets.parts import Part, Parts
from participant_kit.subsets.pool import MetadataPool

_QUERIES = "queries.npy"


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search came to.

    Args:
        neighbours: of every query.
        rows: of the pool.
        missing: rows without a usable feature.
        short: queries that have fewer neighbours than were asked for, since the pool has no more samples.
    """

    neighbours: Neighbours
    rows: int
    missing: int
    short: int

    def dropped(self, candidates: Candidates) -> dict[str, int]:
        """The rows that are no candidate's sample, by reason; further rows of a sample's uid are not retrieved."""
        return {
            "features_missing": self.missing,
            "not_retrieved": self.rows - self.missing - samples(candidates.uids),
        }


def search_pool(pool: MetadataPool, queries: NDArray[np.float32], member: str, count: int, stage: str) -> Searched:
    """The ``count`` nearest samples of every query.

    Memory is that of all neighbours twice, and in a worker that of the queries, which it maps, and some blocks.

    Args:
        pool: with a ``work_dir``.
        queries: L2-normalised, shape (queries, dimensions).
        member: of the pool's features, for instance ``l14_img``.
        count: at least 1.
        stage: for progress.

    Raises:
        UsageError: a count below 1.
        DataFormatError: features are absent, damaged or of another model.
    """
    if count < 1:
        raise UsageError(f"--neighbours {count} is not above 0.")
    assert pool.work_dir is not None
    make_folder(pool.work_dir)
    with atomic_writer(pool.work_dir / _QUERIES, synced=False) as stream:
        write_npy(stream, queries)
    parts = Parts(pool, partial(_search_file, pool.work_dir / _QUERIES, member, count), stage)
    found = Neighbours.none()
    for arrays in parts:
        found = Neighbours.joined(found, Neighbours(**arrays)).nearest(count)
    short = int(np.count_nonzero(np.bincount(found.queries, minlength=len(queries)) < count))
    return Searched(found, parts.total("rows"), parts.total("missing"), short)


def _search_file(queries: Path, member: str, count: int, path: Path) -> Part:
    wanted = np.load(queries, mmap_mode="r", allow_pickle=False)
    table = read_columns(path, ["uid"])
    features = pool_features(path, member, table.num_rows, wanted.shape[1])
    uids, stored = column_uids(table, path), features.stored
    if not features.usable.all():
        uids, stored = uids[features.usable], stored[features.usable]
    found = nearest_rows(wanted, stored, uids, count)
    arrays = {"queries": found.queries, "uids": found.uids, "scores": found.scores}
    return Part(arrays, {"rows": table.num_rows, "missing": int(np.count_nonzero(~features.usable))})
