"""A diverse part of a pool by greedy k-center on its features: see ``participant_kit.coresets.k_center``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer
from competition.data.metadata import read_uids
from competition.data.uids import sort_uids, uids_to_hex
from competition.data.vector_source import Floats, Rows, VectorShard, VectorSource
from participant_kit.coresets.k_center import Distances, Points, greedy_centres, rounded, squared_distances
from participant_kit.subsets.budget import Budget
from participant_kit.subsets.chosen_rows import chosen_uids
from participant_kit.subsets.draw import lots
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions

NAME = "k_center"
DEFAULTS: Mapping[str, Any] = {"features": "l14_img", "seed": 0}
PURPOSE = 8


@dataclass(frozen=True)
class _Passes:
    """Passes over the files of a pool, which share a folder for what the workers read and a killed run had found.

    Args:
        pool: with a ``work_dir``.
        source: the features.
    """

    pool: MetadataPool
    source: VectorSource

    def points(self, seed: int) -> Points:
        """The pool's rows."""
        looked_at = self.pool.map(partial(_look_at_file, self._shards, seed), "reading features")
        drawn, present = (np.concatenate(each) for each in zip(*looked_at, strict=True))
        return Points(drawn, present, lambda rows: rounded(self.source.take(rows)), self._measure)

    def chosen(self) -> list[int]:
        """What a killed run had chosen."""
        path = self._path("centres")
        rows: list[int] = np.load(path, allow_pickle=False).tolist() if path.exists() else []
        return rows

    def keep(self, rows: Rows) -> None:
        """For ``chosen`` of the next run."""
        with atomic_writer(self._path("centres")) as stream:
            write_npy(stream, rows)

    def _measure(self, centres: Floats) -> Distances:
        path = self._path("vectors")
        with atomic_writer(path, synced=False) as stream:
            write_npy(stream, centres)
        measured = self.pool.map(partial(_measure_file, self._shards, path), "measuring distances", quick=True)
        return np.concatenate(measured)

    @property
    def _shards(self) -> dict[str, VectorShard]:
        return {path.name: shard for path, shard in zip(self.pool.files, self.source.shards, strict=True)}

    def _path(self, name: str) -> Path:
        assert self.pool.work_dir is not None
        return self.pool.work_dir / f"{name}.{self.pool.fingerprint[:16]}.npy"


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    options = K_CENTER.complete(options)
    assert options.features is not None
    assert options.seed is not None
    budget = Budget.of(options, NAME)
    source = VectorSource.of_metadata(pool.files, options.features)
    with pool.working() as working:
        passes = _Passes(working, source)
        points = passes.points(options.seed)
        usable = int(np.count_nonzero(points.present))
        k = budget.rows(source.rows, usable, "features")
        found = greedy_centres(points, k, chosen=passes.chosen(), keep=passes.keep)
    first = uids_to_hex(chosen_uids(pool, source, found.rows[:1]))[0]
    details = {"first_centre": first, "radius": found.radius}
    dropped = {"features_missing": source.rows - usable, "not_selected": usable - k}
    uids = chosen_uids(pool, source, np.sort(found.rows))
    return SubsetResult(sort_uids(uids), source.rows, dropped, details=details)


def _look_at_file(
    shards: Mapping[str, VectorShard], seed: int, path: Path
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """The rows' lots, and which of them have features."""
    shard = shards[path.name]
    present = np.zeros(shard.rows, dtype=bool)
    for rows, _ in shard.blocks(skip_missing=True):
        present[rows - shard.start] = True
    return lots(read_uids(path), seed, PURPOSE), present


def _measure_file(shards: Mapping[str, VectorShard], centres: Path, path: Path) -> Distances:
    """The least squared distance of each row of a file to the centres whose vectors are in ``centres``."""
    shard, to = shards[path.name], np.load(centres, allow_pickle=False)
    distances = np.zeros(shard.rows, dtype=np.int32)
    for rows, vectors in shard.blocks(skip_missing=True):
        distances[rows - shard.start] = squared_distances(rounded(vectors), to)
    return distances


K_CENTER = Strategy(
    NAME,
    "A diverse part of the pool: every next sample is the one least like all that are chosen (greedy k-center).",
    _select,
    accepts=("features", "fraction", "size", "seed"),
    defaults=DEFAULTS,
)
