"""The order of samples: every sample once an epoch, no copies of a uid in a batch, the same on every machine."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from competition.rules.recipes.clip import ShardsWithReplacement
from participant_kit.train.data.order import batches
from participant_kit.train.data.resampled import resampled_batches
from participant_kit.train.data.source import Part, RawSample, TrainingSet

identity_lists = st.lists(st.integers(0, 12), min_size=1, max_size=40).map(lambda ids: np.array(ids, dtype=np.int64))


class Fixed:
    """A source of samples of which only number and identity matter, in parts of ``part`` samples."""

    def __init__(self, identities: np.ndarray, part: int = 7) -> None:
        self.identities = identities
        starts = range(0, len(identities), part)
        self.parts = [Part(f"{start}", min(part, len(identities) - start), "0" * 64) for start in starts]

    def read(self, index: int) -> RawSample:
        raise NotImplementedError

    def describe(self, index: int) -> str:
        raise NotImplementedError


def first(identities: np.ndarray, batch: int, seed: int, steps: int) -> list[np.ndarray]:
    return list(islice(batches(TrainingSet([Fixed(identities)]), batch, seed, apart=True), steps))


@given(identity_lists, st.integers(1, 8), st.integers(0, 5), st.integers(1, 30))
def test_copies_never_meet_while_there_are_enough_distinct_uids(
    identities: np.ndarray, batch: int, seed: int, steps: int
) -> None:
    for block in first(identities, batch, seed, steps):
        assert len(block) == batch
        if len(set(identities.tolist())) >= batch:
            assert len(set(identities[block].tolist())) == batch


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 5), st.integers(1, 50), st.booleans())
def test_every_epoch_holds_every_sample_once(samples: int, batch: int, seed: int, window: int, apart: bool) -> None:
    """Also where data are permuted in windows, and with fewer distinct samples than a batch."""
    batch = max(batch, samples + 1) if apart else batch
    data = TrainingSet([Fixed(np.arange(samples))])
    source = batches(data, batch, seed, apart=apart, window=window)
    seen = np.concatenate(list(islice(source, -(-3 * samples // batch))))
    for epoch in range(3):
        assert sorted(seen[epoch * samples : (epoch + 1) * samples].tolist()) == list(range(samples))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.integers(0, 5))
def test_copies_come_as_far_apart_as_they_can(counts: list[int], seed: int) -> None:
    """With fewer distinct uids than a batch, n copies of a uid come about every n-th part of an epoch."""
    identities = np.repeat(np.arange(len(counts)), counts)
    total = len(identities)
    seen = identities[np.concatenate(first(identities, total + 1, seed, 4))]
    for identity, count in enumerate(counts):
        gaps = np.diff(np.flatnonzero(seen == identity))
        assert gaps.min() > total / count - len(counts)
        assert gaps.max() < total / count + len(counts)


@given(st.lists(st.integers(1, 30), min_size=2, max_size=4), st.data(), st.integers(0, 3))
def test_weights_are_the_sources_shares(sizes: list[int], given_data: st.DataObject, seed: int) -> None:
    weights = [given_data.draw(st.floats(0.1, 5)) for _ in sizes]
    firsts = np.cumsum(sizes) - sizes
    data = TrainingSet([Fixed(np.arange(size) + first) for size, first in zip(sizes, firsts, strict=True)], weights)
    seen = np.concatenate(list(islice(batches(data, 64, seed, apart=False), 128)))
    source = np.searchsorted(firsts, seen, side="right") - 1
    shares = np.bincount(source, minlength=len(sizes)) / len(seen)
    assert np.allclose(shares, np.array(weights) / sum(weights), atol=1.5 / len(seen))
    for number, (size, start) in enumerate(zip(sizes, firsts, strict=True)):
        counts = np.bincount(seen[source == number] - start, minlength=size)
        # Blocks of the mix are shuffled; within a source every sample comes equally often.
        assert counts.max() - counts.min() <= 1


def test_data_larger_than_the_window_are_permuted_shard_by_shard() -> None:
    data = TrainingSet([Fixed(np.arange(100), part=10)])
    seen = np.concatenate(list(islice(batches(data, 10, 0, apart=False, window=20), 20)))
    for start in range(0, 100, 20):
        assert len(set((seen[start : start + 20] // 10).tolist())) == 2
    assert not np.array_equal(seen[:100], seen[100:])


def test_the_original_order_counts_shards_and_not_samples() -> None:
    """A short shard's samples come more often, and a source counts by weight times shards: DataComp's defects."""
    long, short = Fixed(np.arange(50), part=50), Fixed(50 + np.arange(20), part=5)
    data = TrainingSet([long, short], [1.0, 2.0])
    order = ShardsWithReplacement(kind="shards_with_replacement", streams=3, buffer=20, initial=5)
    seen = np.concatenate(list(islice(resampled_batches(data, 10, 0, order), 3000)))
    # Of 9 draws of shards, 1 is the long one (50 samples) and 8 are short (5 each).
    assert abs((seen < 50).mean() - 50 / 90) < 0.03
    again = np.concatenate(list(islice(resampled_batches(data, 10, 0, order), 3000)))
    assert np.array_equal(seen, again)


@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 5), st.integers(1, 30))
def test_distinct_samples_are_seen_equally_often(samples: int, batch: int, seed: int, steps: int) -> None:
    batch = min(batch, samples)
    seen = Counter(np.concatenate(first(np.arange(samples), batch, seed, steps)).tolist())
    counts = [seen[index] for index in range(samples)]
    # A sample that comes twice in the batch where two epochs meet waits for the next batch: never more than one behind.
    assert max(counts) - min(counts) <= 2


@given(identity_lists, st.integers(1, 8), st.integers(0, 5), st.integers(0, 20))
def test_a_later_start_sees_the_same(identities: np.ndarray, batch: int, seed: int, start: int) -> None:
    unbroken = first(identities, batch, seed, start + 3)[start:]
    data = TrainingSet([Fixed(identities)])
    resumed = list(islice(batches(data, batch, seed, apart=True), start, start + 3))
    assert all(np.array_equal(a, b) for a, b in zip(unbroken, resumed, strict=True))


def test_waiting_copies_are_seen_too() -> None:
    identities = np.array([0] * 5 + list(range(1, 46)), dtype=np.int64)
    seen = Counter(np.concatenate(first(identities, 10, seed=0, steps=40)).tolist())
    assert sum(seen[index] for index in range(5)) >= 5 * 7 - 5


def test_original_ranks_fill_equal_parts_of_a_batch() -> None:
    """Two ranks of two workers: halves of a batch come from the same turn's worker of each rank."""
    data = TrainingSet([Fixed(np.arange(40), part=10)])
    shared = {"kind": "shards_with_replacement", "buffer": 4, "initial": 1}
    of_ranks = ShardsWithReplacement.model_validate({**shared, "streams": 4, "ranks": 2})
    alone = ShardsWithReplacement.model_validate({**shared, "streams": 4})
    together = list(islice(resampled_batches(data, 6, 0, of_ranks), 2))
    singly = list(islice(resampled_batches(data, 3, 0, alone), 4))
    assert np.array_equal(np.concatenate(together), np.concatenate([singly[n] for n in (0, 2, 1, 3)]))
