"""The order of samples: every sample once an epoch, no copies of a uid in a batch, the same on every machine."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from participant_kit.train.sampling import batches, epoch_order

identity_lists = st.lists(st.integers(0, 12), min_size=1, max_size=40).map(lambda ids: np.array(ids, dtype=np.int64))


def first(identities: np.ndarray, batch: int, seed: int, steps: int) -> list[np.ndarray]:
    return list(islice(batches(identities, batch, seed), steps))


@given(identity_lists, st.integers(1, 8), st.integers(0, 5), st.integers(1, 30))
def test_copies_never_meet_while_there_are_enough_distinct_uids(
    identities: np.ndarray, batch: int, seed: int, steps: int
) -> None:
    for block in first(identities, batch, seed, steps):
        assert len(block) == batch
        if len(set(identities.tolist())) >= batch:
            assert len(set(identities[block].tolist())) == batch


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 5))
def test_every_epoch_holds_every_sample_once(samples: int, batch: int, seed: int) -> None:
    """With fewer distinct samples than a batch, plain epochs follow one another."""
    batch = max(batch, samples + 1)
    seen = np.concatenate(first(np.arange(samples), batch, seed, 3))
    expected = np.concatenate([epoch_order(seed, epoch, samples) for epoch in range(len(seen) // samples + 1)])
    assert np.array_equal(seen, expected[: len(seen)])


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
    resumed = list(islice(batches(identities, batch, seed), start, start + 3))
    assert all(np.array_equal(a, b) for a, b in zip(unbroken, resumed, strict=True))


def test_waiting_copies_are_seen_too() -> None:
    identities = np.array([0] * 5 + list(range(1, 46)), dtype=np.int64)
    seen = Counter(np.concatenate(first(identities, 10, seed=0, steps=40)).tolist())
    assert sum(seen[index] for index in range(5)) >= 5 * 7 - 5
