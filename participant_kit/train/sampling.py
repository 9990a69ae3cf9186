"""The order in which samples are seen: a pure function of seed and data, so that a resumed run sees the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

_ORDER_STREAM = 1


def epoch_order(seed: int, epoch: int, samples: int) -> Indices:
    """Permutation [samples] of one epoch."""
    return np.random.default_rng([seed, _ORDER_STREAM, epoch]).permutation(samples)


def batches(identities: Indices, batch: int, seed: int) -> Iterator[Indices]:
    """Endless batches [batch] of sample positions: one seeded permutation of all samples after another.

    Samples of equal identity are copies of one uid. In a contrastive batch they would count as each other's
    negatives, so a copy waits for a later batch, the longest waiting first, whenever the data hold at least a batch
    of distinct identities. Nothing is lost by waiting: the samples seen are a prefix of the epochs but for those
    that still wait.

    Args:
        identities: [samples] of non-negative numbers, at least one.
        batch: samples a batch.
        seed: of the permutations.
    """
    stream = _Stream(len(identities), seed)
    if len(np.unique(identities)) < batch:
        while True:
            yield stream.take(batch)
    waiting: dict[int, deque[int]] = {}
    while True:
        if not waiting:
            block = stream.take(batch)
            if len(np.unique(identities[block])) == batch:
                yield block
                continue
            stream.put_back(block)
        yield _without_copies(stream, identities, batch, waiting)


def _without_copies(stream: _Stream, identities: Indices, batch: int, waiting: dict[int, deque[int]]) -> Indices:
    chosen: dict[int, int] = {}
    for identity in list(waiting)[:batch]:
        queue = waiting.pop(identity)
        chosen[identity] = queue.popleft()
        if queue:
            waiting[identity] = queue
    while len(chosen) < batch:
        index = int(stream.take(1)[0])
        identity = int(identities[index])
        if identity in chosen:
            waiting.setdefault(identity, deque()).append(index)
        else:
            chosen[identity] = index
    return np.fromiter(chosen.values(), dtype=np.int64, count=batch)


class _Stream:
    """The permutations of all epochs, one after another."""

    def __init__(self, samples: int, seed: int) -> None:
        self._samples, self._seed = samples, seed
        self._epoch = 0
        self._rest: Indices = np.empty(0, dtype=np.int64)

    def take(self, count: int) -> Indices:
        """The next ``count`` positions."""
        parts = []
        while count > len(self._rest):
            parts.append(self._rest)
            count -= len(self._rest)
            self._rest = epoch_order(self._seed, self._epoch, self._samples)
            self._epoch += 1
        parts.append(self._rest[:count])
        self._rest = self._rest[count:]
        return np.concatenate(parts)

    def put_back(self, taken: Indices) -> None:
        """Undo a ``take``."""
        self._rest = np.concatenate([taken, self._rest])
