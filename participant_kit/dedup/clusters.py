"""Comparing the rows of one cluster with each other, cluster by cluster, from a file in which they lie side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import atomic_writer
from competition.data.workers import one_thread_a_worker
from participant_kit.dedup.groups import Linkage, Rows
from participant_kit.dedup.unit import Floats, above, unit_rows

_BLOCK_ROWS = 2048
"""Rows compared with as many at a time: 16 MB of cosines, and at worst six times as much of pairs."""

_BATCH_ROWS = 1 << 14
"""Rows of clusters that are one task, if a cluster has not more."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Clusters that are worked on together.

    Args:
        name: unique.
        start: the first row of the first.
        sizes: rows of each.
    """

    name: str
    start: int
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shared:
    """What is the same for all batches.

    Args:
        work: folder with ``clustered.raw``, the rows, and ``ranks.npy``; results go there too.
        dtype: of the rows.
        dimensions: of the rows.
        threshold: a cosine.
        by_pair: see ``Linkage``.
    """

    work: Path
    dtype: str
    dimensions: int
    threshold: float
    by_pair: bool

    def result_path(self, batch: Batch) -> Path:
        """Where a batch's result goes: ``labels`` (rows of the whole file), ``least`` and ``measures``."""
        return self.work / f"linked-{batch.name}.npz"

    def rows(self, start: int, stop: int) -> Floats:
        """Unit rows of the file."""
        count = (stop - start) * self.dimensions
        kind = np.dtype(self.dtype)
        path = self.work / "clustered.raw"
        stored = np.fromfile(path, kind, count, offset=start * self.dimensions * kind.itemsize)
        return unit_rows(stored.reshape(-1, self.dimensions), "features")[0]


def batches(sizes: Rows) -> Iterator[Batch]:
    """Clusters of these sizes in batches, in order; empty clusters are in none."""
    start, number = 0, 0
    members: list[int] = []
    for size in sizes[sizes > 0].tolist():
        if members and sum(members) + size > _BATCH_ROWS:
            yield Batch(f"{number:08d}", start, tuple(members))
            start, number, members = start + sum(members), number + 1, []
        members.append(size)
    if members:
        yield Batch(f"{number:08d}", start, tuple(members))


def link_batch(shared: Shared, batch: Batch) -> int:
    """Runs in a worker: compare, link, and write the result. Returns the number of rows."""
    start, parts = batch.start, []
    every_rank = np.load(shared.work / "ranks.npy", mmap_mode="r", allow_pickle=False)
    with one_thread_a_worker():
        for size in batch.sizes:
            labels, least, measures = _link_cluster(shared, start, np.array(every_rank[start : start + size]))
            parts.append((labels + start, least, measures))
            start += size
    names = ("labels", "least", "measures")
    content: dict[str, NDArray[Any]] = {
        name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(names)
    }
    with atomic_writer(shared.result_path(batch)) as stream:
        np.savez(stream, allow_pickle=False, **content)
    return start - batch.start


def _link_cluster(shared: Shared, start: int, ranks: Rows) -> tuple[Rows, Rows, Floats]:
    linkage = Linkage(ranks, by_pair=shared.by_pair)
    largest = np.full(len(ranks), -1, dtype=np.float32)
    edges = [*range(0, len(ranks), _BLOCK_ROWS), len(ranks)]
    spans = list(pairwise(edges))
    for place, (low, high) in enumerate(spans):
        rows = shared.rows(start + low, start + high)
        for other_low, other_high in spans[place:]:
            same = other_low == low
            others = rows if same else shared.rows(start + other_low, start + other_high)
            first, second, cosines = above(rows, others, shared.threshold)
            if same:
                once = first < second
                first, second, cosines = first[once], second[once], cosines[once]
            first, second = first + low, second + other_low
            linkage.add(first, second)
            np.maximum.at(largest, first, cosines)
            np.maximum.at(largest, second, cosines)
    labels, least = linkage.result()
    return labels, least, np.where(largest < 0, np.nan, largest).astype(np.float32)
