"""Quotas and the choice of the best pair: exact sizes, even classes, and an order of rows that does not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competition.data.uids import UID_DTYPE
from competition.errors import UsageError
from participant_kit.labelled.candidates import Candidates, Quota, best_of_each, of_one_class, within_quota

PAIRS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 3), st.sampled_from([0.1, 0.5, 0.5, 0.9]), st.integers(0, 2)),
    max_size=40,
)


def made(pairs: list[tuple[int, int, float, int]]) -> Candidates:
    uids = np.zeros(len(pairs), UID_DTYPE)
    uids["f1"] = [pair[0] for pair in pairs]
    return Candidates(
        uids,
        np.array([pair[1] for pair in pairs], np.int32),
        np.array([pair[2] for pair in pairs], np.float64),
        np.array([pair[3] for pair in pairs], np.int32),
    )


def listed(candidates: Candidates) -> list[tuple[int, int, float, int]]:
    columns = (candidates.uids["f1"], candidates.labels, candidates.scores, candidates.sources)
    return [(int(u), int(c), float(s), int(o)) for u, c, s, o in zip(*columns, strict=True)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 120), st.none() | st.integers(1, 20))
def test_a_size_is_met_exactly_and_evenly(counts: list[int], size: int, per_class: int | None) -> None:
    given_counts = Quota(size, per_class).of(np.array(counts))
    most = [min(count, per_class or count) for count in counts]
    assert given_counts.sum() == min(size, sum(most))
    assert all(0 <= mine <= limit for mine, limit in zip(given_counts, most, strict=True))
    short = [mine for mine, limit in zip(given_counts, most, strict=True) if mine < limit]
    assert not short or max(given_counts) - min(short) <= 1, "no class gives up a sample that a larger one keeps"


@settings(deadline=None)
@given(PAIRS, st.randoms())
def test_the_best_pair_of_a_sample_does_not_depend_on_the_order(
    pairs: list[tuple[int, int, float, int]], random: object
) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for by_class in (False, True):
        best = listed(best_of_each(made(shuffled), by_class=by_class))
        keys = {(uid, label) if by_class else uid for uid, label, _, _ in pairs}
        expected = [
            min(
                (pair for pair in pairs if (pair[:2] if by_class else pair[0]) == key),
                key=lambda pair: (-pair[2], pair[1], pair[3]),
            )
            for key in sorted(keys)
        ]
        assert best == expected
    ordered = best_of_each(made(shuffled), by_class=True)
    alone = of_one_class(ordered)
    assert alone.tolist() == [len({c for u, c, _, _ in pairs if u == uid}) == 1 for uid in ordered.uids["f1"].tolist()]


@settings(deadline=None)
@given(PAIRS, st.integers(1, 4))
def test_a_class_keeps_its_best_ties_by_uid(pairs: list[tuple[int, int, float, int]], per_class: int) -> None:
    best = best_of_each(made(pairs), by_class=True)
    kept = listed(best.take(within_quota(best, Quota(per_class=per_class), 4, scored=True)))
    for label in range(4):
        mine = sorted((-score, uid) for uid, own, score, _ in listed(best) if own == label)[:per_class]
        assert sorted((-score, uid) for uid, own, score, _ in kept if own == label) == mine


def test_lots_depend_on_the_seed_alone_and_smaller_draws_are_part_of_larger_ones() -> None:
    candidates = made([(uid, 0, 0.0, 0) for uid in range(100)])
    small, large, other = (
        {uid for uid, *_ in listed(candidates.take(within_quota(candidates, quota, 1, scored=False)))}
        for quota in (Quota(10), Quota(30), Quota(10, seed=1))
    )
    assert len(small) == 10
    assert small < large
    assert small not in (other, set(range(10)))


@pytest.mark.parametrize("quota", [Quota(0), Quota(per_class=0), Quota(seed=-1)])
def test_sizes_that_mean_nothing_are_refused(quota: Quota) -> None:
    with pytest.raises(UsageError, match=r"--(size|per-class|seed)"):
        quota.check()
