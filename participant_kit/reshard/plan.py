"""In which order the copies of all selected samples are written, and which of them make up an output shard.

Without multiplicities the order is that of the pool. Copies of one sample are spread evenly: copy ``j`` of ``c`` of the
``r``-th of ``n`` selected samples stands where a list of length one would have the place ``(j + r / n) / c``. So the
copies of a sample lie about ``1 / c`` of the output apart, and samples with as many copies keep the pool's order among
each other. A seed shuffles all copies instead (PCG64, Fisher-Yates), which keeps nothing apart or together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer
from participant_kit.reshard.pooled import PooledSelections

_ORDER_DTYPE = np.dtype([("row", "<i8"), ("copy", "<i4")])


class Slice(NamedTuple):
    """The samples of an output shard in order, int64.

    ``shards`` of the pool, ``places`` among all selected samples, ``rows`` in the selection of the shard, and the
    numbers of the ``copies``.
    """

    shards: NDArray[np.int64]
    places: NDArray[np.int64]
    rows: NDArray[np.int64]
    copies: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """How the copies of all selected samples become output shards. Small: a long order lies in a file.

    Args:
        names: pool shards, in order.
        ends: int64 [pool shards], selected samples up to the end of each.
        total: copies.
        shard_size: copies in every output shard but the last.
        order_path: where the order is; ``None`` when it is the pool's, one copy each.
        pooled: the selections that such an order takes samples from; ``None`` in pool order.
    """

    names: tuple[str, ...]
    ends: NDArray[np.int64]
    total: int
    shard_size: int
    order_path: Path | None
    pooled: PooledSelections | None = None

    @property
    def output_shards(self) -> int:
        """Number of output shards."""
        return -(-self.total // self.shard_size)

    def slice(self, number: int) -> Slice:
        """The content of an output shard."""
        first = number * self.shard_size
        last = min(self.total, first + self.shard_size)
        if self.order_path is None:
            places, copies = np.arange(first, last), np.zeros(last - first, dtype=np.int64)
        else:
            order = np.load(self.order_path, mmap_mode="r", allow_pickle=False)[first:last]
            places, copies = order["row"].astype(np.int64), order["copy"].astype(np.int64)
        shards = np.searchsorted(self.ends, places, side="right")
        begins = np.concatenate([[0], self.ends])[shards]
        return Slice(shards, places, places - begins, copies)


def plan_output(
    names: tuple[str, ...], copies: list[NDArray[np.int64]], shard_size: int, shuffle_seed: int | None, order_path: Path
) -> OutputPlan:
    """Plan the output of pool shards whose selected samples have these copies; writes ``order_path`` if needed."""
    ends = np.cumsum([len(part) for part in copies], dtype=np.int64)
    counts = np.concatenate(copies)
    total = int(counts.sum())
    if shuffle_seed is None and total == len(counts):
        return OutputPlan(names, ends, total, shard_size, None)
    order = np.empty(total, dtype=_ORDER_DTYPE)
    order["row"] = np.repeat(np.arange(len(counts)), counts)
    order["copy"] = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    if shuffle_seed is None:
        place = (order["copy"] + order["row"] / len(counts)) / np.repeat(counts, counts)
        order = order[np.argsort(place, kind="stable")]
    else:
        order = order[np.random.Generator(np.random.PCG64(shuffle_seed)).permutation(total)]
    with atomic_writer(order_path, synced=False) as stream:
        write_npy(stream, order)
    return OutputPlan(names, ends, total, shard_size, order_path)
