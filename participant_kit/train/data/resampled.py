"""open_clip's resampled order, for recipes that keep the original behaviour of DataComp.

Shards are drawn with replacement and read whole through a shuffle buffer, by as many streams as there were loader
workers. What depended on process ids there depends on the seed here; the distribution is the original's
(open_clip_train/data.py ``ResampledShards2``, webdataset's ``shuffle``).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from competition.rules.recipes.clip import ShardsWithReplacement
from participant_kit.train.data.source import Indices, TrainingSet

_STREAM = 6


def resampled_batches(data: TrainingSet, batch: int, seed: int, order: ShardsWithReplacement) -> Iterator[Indices]:
    """Endless batches [batch], of the original ranks in equal parts. Copies of one uid may meet.

    Every rank's streams give its part each in turn.
    """
    streams = [_samples(data, order, np.random.default_rng([seed, _STREAM, n])) for n in range(order.streams)]
    turns, part = order.streams // order.ranks, batch // order.ranks
    while True:
        for turn in range(turns):
            of_ranks = streams[turn::turns]
            drawn = (next(stream) for stream in of_ranks for _ in range(part))
            yield np.fromiter(drawn, dtype=np.int64, count=batch)


def _samples(data: TrainingSet, order: ShardsWithReplacement, generator: np.random.Generator) -> Iterator[int]:
    """Positions as one loader worker gives them: until it is full, the buffer takes two for each one that it gives."""
    source, held = _shard_by_shard(data, generator), list[int]()
    initial = min(order.initial, order.buffer)
    while True:
        held.append(next(source))
        if len(held) < order.buffer:
            held.append(next(source))
        if len(held) >= initial:
            place = int(generator.integers(len(held)))
            held[place], held[-1] = held[-1], held[place]
            yield held.pop()


def _shard_by_shard(data: TrainingSet, generator: np.random.Generator) -> Iterator[int]:
    sizes = np.array([part.samples for part in data.parts], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    weights = data.weights or (1.0,) * len(data.sources)
    each = np.concatenate(
        [np.full(len(source.parts), weight) for source, weight in zip(data.sources, weights, strict=True)]
    )
    chances = np.cumsum(each / each.sum())
    while True:
        shard = min(int(np.searchsorted(chances, generator.random(), side="right")), len(sizes) - 1)
        yield from range(int(starts[shard]), int(starts[shard] + sizes[shard]))
