"""The order in which samples are seen: a pure function of seed and data, so that a resumed run sees the same.

One process and many draw the same batches; each takes its share of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from participant_kit.train.data.source import Indices, TrainingSet

WINDOW = 4_194_304
"""Samples of data that are permuted as a whole; see ``competition.rules.recipes.clip.Permutation``."""

_ORDER_STREAM, _SHARD_STREAM, _MIX_STREAM, _SPACE_STREAM = 1, 3, 4, 5
_MIX_BLOCK = 4096


def batches(data: TrainingSet, batch: int, seed: int, *, apart: bool, window: int = WINDOW) -> Iterator[Indices]:
    """Endless batches [batch] of sample positions, every sample once before any comes again.

    Args:
        data: what is drawn from; with weights, its sources are mixed in proportion to these.
        batch: samples a batch.
        seed: of the permutations.
        apart: copies of one uid must not meet. In a contrastive batch they would count as each other's negatives, so
            a copy waits for a later batch, the longest waiting first, whenever the data hold at least a batch of
            distinct uids. Nothing is lost by waiting: the samples seen are a prefix of the epochs but for those that
            still wait. With fewer distinct uids, copies come as far apart as they can.
        window: data of more samples are permuted in windows of about this many, made of whole parts in random order.
    """
    if apart and _distinct(data.identities, batch) < batch:
        yield from _cut(_spaced(data.identities, seed), batch)
    blocks = _weighted(data, seed, window) if data.weights else _permuted(data, seed, window)
    stream = _Stream(blocks)
    if not apart:
        while True:
            yield stream.take(batch)
    identities, waiting = data.identities, dict[int, deque[int]]()
    while True:
        if not waiting:
            block = stream.take(batch)
            if len(np.unique(identities[block])) == batch:
                yield block
                continue
            stream.put_back(block)
        yield _without_copies(stream, identities, batch, waiting)


def _permuted(data: TrainingSet, seed: int, window: int) -> Iterator[Indices]:
    return _epochs([part.samples for part in data.parts], seed, window)


def _epochs(sizes: Sequence[int], seed: int, window: int, *stream: int) -> Iterator[Indices]:
    """Positions in endless epochs, a window at a time; ``sizes`` are those of the parts."""
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    epoch = 0
    while True:
        generator = np.random.default_rng([seed, _ORDER_STREAM, epoch, *stream])
        if starts[-1] <= window:
            yield generator.permutation(int(starts[-1]))
        else:
            parts = np.random.default_rng([seed, _SHARD_STREAM, epoch, *stream]).permutation(len(sizes))
            for group in _windows(parts, sizes, window):
                block = np.concatenate([np.arange(starts[part], starts[part + 1]) for part in group])
                yield generator.permutation(block)
        epoch += 1


def _windows(parts: Indices, sizes: Sequence[int], window: int) -> Iterator[list[int]]:
    group: list[int] = []
    held = 0
    for part in map(int, parts):
        group.append(part)
        held += sizes[part]
        if held >= window:
            yield group
            group, held = [], 0
    if group:
        yield group


def _weighted(data: TrainingSet, seed: int, window: int) -> Iterator[Indices]:
    """Blocks in which every source has its share: exactly, up to one sample, from the beginning to any block's end."""
    shares = np.asarray(data.weights, dtype=np.float64) / sum(data.weights or ())
    firsts = np.concatenate([[0], np.cumsum(data.sizes)])
    streams = [
        _Stream(_epochs([part.samples for part in source.parts], seed, window, number))
        for number, source in enumerate(data.sources)
    ]
    given, block = np.zeros(len(shares), dtype=np.int64), 0
    while True:
        block += 1
        due = _rounded(shares * block * _MIX_BLOCK, block * _MIX_BLOCK) - given
        given += due
        chosen = [stream.take(int(count)) + first for stream, count, first in zip(streams, due, firsts, strict=False)]
        yield np.random.default_rng([seed, _MIX_STREAM, block]).permutation(np.concatenate(chosen))


def _rounded(quotas: np.ndarray[tuple[int], np.dtype[np.float64]], total: int) -> Indices:
    """Whole numbers of the given sum, each next to its quota (largest remainders first)."""
    counts = np.floor(quotas).astype(np.int64)
    short = total - int(counts.sum())
    counts[np.argsort(counts - quotas, kind="stable")[:short]] += 1
    return counts


def _spaced(identities: Indices, seed: int) -> Iterator[Indices]:
    """Epochs in which the n copies of a uid come 1/n of the epoch apart, also from one epoch to the next."""
    _, inverse, counts = np.unique(identities, return_inverse=True, return_counts=True)
    offsets = np.random.default_rng([seed, _SPACE_STREAM]).random(len(counts))
    samples, epoch = len(identities), 0
    while True:
        shuffled = np.random.default_rng([seed, _ORDER_STREAM, epoch]).permutation(samples)
        grouped = shuffled[np.argsort(inverse[shuffled], kind="stable")]
        copy = np.arange(samples) - np.repeat(np.cumsum(counts) - counts, counts)
        place = (copy + offsets[inverse[grouped]]) / counts[inverse[grouped]]
        yield grouped[np.argsort(place, kind="stable")]
        epoch += 1


def _distinct(identities: Indices, enough: int) -> int:
    """Distinct identities, counted until there are ``enough``: large data are not sorted whole for this."""
    length = 4 * enough
    while True:
        found = len(np.unique(identities[:length]))
        if found >= enough or length >= len(identities):
            return found
        length *= 4


def _cut(blocks: Iterator[Indices], batch: int) -> Iterator[Indices]:
    stream = _Stream(blocks)
    while True:
        yield stream.take(batch)


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
    """Blocks of positions, one after another, taken in pieces of any size."""

    def __init__(self, blocks: Iterator[Indices]) -> None:
        self._blocks = blocks
        self._rest: Indices = np.empty(0, dtype=np.int64)

    def take(self, count: int) -> Indices:
        """The next ``count`` positions."""
        parts = []
        while count > len(self._rest):
            parts.append(self._rest)
            count -= len(self._rest)
            self._rest = next(self._blocks)
        parts.append(self._rest[:count])
        self._rest = self._rest[count:]
        return np.concatenate(parts)

    def put_back(self, taken: Indices) -> None:
        """Undo a ``take``."""
        self._rest = np.concatenate([taken, self._rest])
