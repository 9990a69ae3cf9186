"""Intervals cover what they promise; resamples are shared; ranks are ranges that cannot contradict each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from competition import statistics
from competition.statistics import (
    bootstrap_replicates,
    clopper_pearson,
    common_replicates,
    percentile_interval,
    rank_ranges,
)

proportions = st.integers(1, 3000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


@given(proportions, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_clopper_pearson_equals_scipys_exact_interval(counts: tuple[int, int], confidence: float) -> None:
    ours = clopper_pearson(*counts, confidence)
    theirs = binomtest(*counts).proportion_ci(confidence, method="exact")
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("trials", [1, 7, 40])
def test_clopper_pearson_covers_every_proportion(trials: int) -> None:
    """Exact coverage, summed over all outcomes: never below the promise."""
    intervals = [clopper_pearson(successes, trials) for successes in range(trials + 1)]
    for p in np.linspace(0.0, 1.0, 201):
        covered = sum(binom.pmf(k, trials, p) for k, (low, high) in enumerate(intervals) if low <= p <= high)
        assert covered >= 0.95 - 1e-9


@pytest.mark.parametrize(
    ("successes", "trials", "confidence"), [(0, 0, 0.95), (2, 1, 0.95), (-1, 5, 0.95), (1, 2, 1.0)]
)
def test_what_is_no_proportion_is_refused(successes: int, trials: int, confidence: float) -> None:
    with pytest.raises(ValueError):
        clopper_pearson(successes, trials, confidence)


KEPT = [3 / 7, 4.5 / 7, 1 / 7, 3 / 7]
"""Replicates of seven units, from before components had resamples of their own."""


def outcomes(seed: int, count: int, share: float) -> np.ndarray:
    return (np.random.default_rng(seed).random(count) < share).astype(float)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 9))
@settings(max_examples=40)
def test_resamples_are_common_to_all_entries(first: int, second: int, seed: int) -> None:
    """The replicates of a difference are the difference of the replicates: a paired bootstrap."""
    a = [outcomes(seed, first, 0.5), outcomes(seed + 1, second, 0.5)]
    b = [outcomes(seed + 2, first, 0.5), outcomes(seed + 3, second, 0.5)]
    of_each = [bootstrap_replicates(entry, seed_text="x", replicates=50) for entry in (a, b)]
    of_difference = bootstrap_replicates([x - y for x, y in zip(a, b, strict=True)], seed_text="x", replicates=50)
    np.testing.assert_allclose(of_each[0] - of_each[1], of_difference, atol=1e-12)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), st.integers(1, 5), st.integers(0, 9))
@settings(max_examples=40)
def test_replicates_of_many_entries_at_once_are_those_of_each(lengths: list[int], entries: int, seed: int) -> None:
    """Also when the resamples of a component do not fit into one piece of memory."""
    made = [[outcomes(seed + 7 * e + c, length, 0.5) for c, length in enumerate(lengths)] for e in range(entries)]
    each = [bootstrap_replicates(components, seed_text="x", replicates=60) for components in made]
    np.testing.assert_allclose(common_replicates(made, seed_text="x", replicates=60), each, atol=1e-12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "_CHUNK_ELEMENTS", 100)
        np.testing.assert_allclose(common_replicates(made, seed_text="x", replicates=60), each, atol=1e-12)


@pytest.mark.parametrize("entries", [[], [[]], [[np.ones(3)], [np.ones(4)]], [[np.ones(0)]], [[np.ones(2)], []]])
def test_entries_on_other_units_have_no_common_replicates(entries: list[list[np.ndarray]]) -> None:
    with pytest.raises(ValueError, match="same units"):
        common_replicates(entries, seed_text="x")


def test_resamples_depend_on_the_suite_and_not_on_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [outcomes(0, 100, 0.4)]
    replicates = bootstrap_replicates(values, seed_text="a" * 64)
    assert not np.array_equal(replicates, bootstrap_replicates(values, seed_text="b" * 64))
    monkeypatch.setattr(statistics, "_CHUNK_ELEMENTS", 700)
    assert np.array_equal(replicates, bootstrap_replicates(values, seed_text="a" * 64))


def test_two_tasks_on_the_same_units_are_no_surer_than_one() -> None:
    """The mean over two renderings of the same images is as uncertain as one of them where they fail together, and as
    two independent sets where they do not."""
    same, other = outcomes(0, 400, 0.6), outcomes(1, 400, 0.6)
    one, again, independent = (bootstrap_replicates([values], seed_text="x") for values in (same, same, other))
    assert ((one + again) / 2).std() == pytest.approx(one.std())
    assert ((one + independent) / 2).std() == pytest.approx(one.std() / np.sqrt(2), rel=0.08)


def test_the_first_component_has_the_resamples_of_the_reports_that_exist() -> None:
    found = bootstrap_replicates([np.arange(7) % 3 / 2.0], seed_text="a" * 64, replicates=4)
    assert found == pytest.approx(KEPT, abs=1e-15)
    both = bootstrap_replicates([np.arange(7) % 3 / 2.0, np.ones(7)], seed_text="a" * 64, replicates=4)
    assert both == pytest.approx([(value + 1) / 2 for value in KEPT], abs=1e-15)


def test_equally_large_classes_are_resampled_one_by_one() -> None:
    """Fifty classes of twenty images each: an interval is about as wide as it should be, whichever images there are.

    The bootstrap's variance of a class's mean is that of the images less one twentieth. With the same resample for all
    classes the width would hang on twenty positions, and vary by 15 % from set to set instead of 4 %.
    """
    share, classes, images = 0.7, 50, 20
    error = np.sqrt(share * (1 - share) / (classes * images))
    relative, covered, trials = [], 0, 200
    for trial in range(trials):
        parts = list(outcomes(trial, classes * images, share).reshape(classes, images))
        replicates = bootstrap_replicates(parts, seed_text=str(trial), replicates=400)
        low, high = percentile_interval(replicates)
        relative.append(replicates.std() / error)
        covered += low <= share <= high
    assert np.mean(relative) == pytest.approx(np.sqrt(1 - 1 / images), abs=0.02)
    assert np.std(relative) < 0.08
    assert 0.91 <= covered / trials <= 0.98


def test_bootstrap_interval_covers_the_truth_about_as_often_as_promised() -> None:
    truth, covered, trials = 0.6, 0, 300
    for trial in range(trials):
        low, high = percentile_interval(
            bootstrap_replicates([outcomes(trial, 200, truth)], seed_text=str(trial), replicates=400)
        )
        covered += low <= truth <= high
    assert 0.90 <= covered / trials <= 0.985


def test_bootstrap_weighs_components_alike() -> None:
    replicates = bootstrap_replicates([np.ones(3), np.zeros(300)], seed_text="x", replicates=20)
    assert np.array_equal(replicates, np.full(20, 0.5))


@pytest.mark.parametrize("components", [[], [np.array([])], [np.ones(2), np.array([])]])
def test_bootstrap_of_nothing_is_refused(components: list[np.ndarray]) -> None:
    with pytest.raises(ValueError):
        bootstrap_replicates(components, seed_text="x")


def replicates_of(shares: list[float], units: int = 300) -> np.ndarray:
    return np.stack(
        [bootstrap_replicates([outcomes(7, units, share)], seed_text="suite/task", replicates=300) for share in shares]
    )


@given(st.lists(st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.55, 0.9, 1.0]), min_size=1, max_size=8), st.randoms())
@settings(max_examples=40, deadline=None)
def test_rank_ranges_hold_together(shares: list[float], random) -> None:
    replicates = replicates_of(shares)
    low, high = rank_ranges(replicates)
    entries = len(shares)
    assert np.all(low >= 1)
    assert np.all(low <= high)
    assert np.all(high <= entries)
    # The rank by score lies in the range, and the range does not depend on the order of the entries.
    means = replicates.mean(axis=1)
    for i in range(entries):
        assert low[i] <= 1 + np.sum(means > means[i])
        assert high[i] >= entries - np.sum(means < means[i])
    order = list(range(entries))
    random.shuffle(order)
    shuffled = rank_ranges(replicates[order])
    assert np.array_equal(shuffled[0], low[order])
    assert np.array_equal(shuffled[1], high[order])


def test_rank_ranges_tell_apart_what_the_data_tell_apart() -> None:
    """Two equal entries share the ranks that they could have; clearly worse ones follow."""
    low, high = rank_ranges(replicates_of([0.2, 0.9, 0.9, 0.5]))
    assert low.tolist() == [4, 1, 1, 3]
    assert high.tolist() == [4, 2, 2, 3]


def test_rank_ranges_use_the_pairing() -> None:
    """Intervals of single entries overlap, yet one entry is right wherever the other is, and more often."""
    first = outcomes(1, 400, 0.5)
    second = first.copy()
    second[np.flatnonzero(first == 0)[:12]] = 1.0
    replicates = np.stack([bootstrap_replicates([values], seed_text="x") for values in (first, second)])
    assert percentile_interval(replicates[0])[1] > percentile_interval(replicates[1])[0]
    assert rank_ranges(replicates)[0].tolist() == [2, 1]
