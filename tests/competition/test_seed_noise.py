"""Scores against seed noise: honest runs are rarely accused, large gaps are found, and the numbers fit each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t

from competition.seed_noise import Bar, SeedSpread, compare, pooled_spread, seeds_needed

STRICT = Bar(0.95, 0.0, 1e9)
UNKNOWN = SeedSpread()
SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=6)


def accused(honest: np.ndarray, bar: Bar, known: SeedSpread = UNKNOWN, error: float = 0.0, best_of: int = 1):
    """Share of trials in which the best of the first ``best_of`` runs is beyond chance of the others."""
    found = [compare([run[:best_of].max()], list(run[best_of:]), error, bar, known).beyond_chance for run in honest]
    return float(np.mean(found))


def test_a_known_case():
    found = compare([0.9], [0.5, 0.7], 0.0, STRICT)
    sd = math.sqrt(0.02)
    assert found.gain == pytest.approx(0.3)
    assert found.margin == pytest.approx(t.ppf(0.95, 1) * sd * math.sqrt(1.5))
    assert (found.seed_sd, found.degrees) == (pytest.approx(sd), 1)
    # Without seed noise only the evaluation's error is left, and it has no degrees of freedom to lose.
    still = compare([0.6], [0.5, 0.5], 0.03, STRICT)
    assert still.margin == pytest.approx(norm.ppf(0.95) * 0.03)
    assert compare([0.6], [0.5, 0.5], 0.0, Bar(0.95, 0.2, 0.3)).margin == 0.2


@pytest.mark.parametrize("runs", [2, 3, 6])
def test_honest_runs_are_accused_as_often_as_the_confidence_says(runs):
    trials = 4000
    honest = np.random.default_rng(runs).normal(0.6, 0.03, (trials, runs + 1))
    noise = 4 * math.sqrt(0.05 * 0.95 / trials)
    assert abs(accused(honest, STRICT) - 0.05) < noise
    # Whatever is added errs on the side of the entry.
    known = SeedSpread(0.03, 8)
    assert accused(honest, STRICT, known) < 0.05 + noise
    assert accused(honest, STRICT, error=0.02) < 0.05 - noise / 4
    assert accused(honest, Bar(0.95, 0.01, 1.0)) <= accused(honest, STRICT)


def test_who_enters_the_best_of_k_runs_is_accused_at_most_k_times_as_often():
    trials, tries = 4000, 5
    honest = np.random.default_rng(7).normal(0.0, 1.0, (trials, tries + 3))
    assert accused(honest, Bar(0.99, 0.0, 1e9), best_of=tries) < tries * 0.01 + 4 * math.sqrt(0.05 * 0.95 / trials)


def test_a_large_gap_is_found_and_knowing_the_spread_finds_smaller_ones():
    runs = np.random.default_rng(3).normal(0.5, 0.02, (1000, 4))
    runs[:, 0] += 0.2
    bar = Bar(0.99, 0.005, 1.0)
    assert accused(runs, bar, SeedSpread(0.02, 6)) > 0.99
    assert (
        accused(runs, bar, SeedSpread(0.02, 30)) >= accused(runs, bar, SeedSpread(0.02, 6)) > accused(runs, bar) + 0.2
    )
    runs[:, 0] += 0.3
    assert accused(runs, bar) > 0.99


@given(SCORES, SCORES, st.floats(0, 0.2), st.floats(-5, 5), st.floats(0.1, 10))
def test_units_and_directions_do_not_matter(first, second, error, shift, factor):
    plain = compare(first, second, error, STRICT)
    scaled = compare(
        [shift + factor * value for value in first],
        [shift + factor * value for value in second],
        factor * error,
        STRICT,
    )
    mirrored = compare([-value for value in first], [-value for value in second], error, STRICT, less_is_better=True)
    for name in ("gain", "margin", "seed_sd"):
        assert getattr(scaled, name) == pytest.approx(factor * getattr(plain, name), rel=1e-6, abs=1e-9)
        assert getattr(mirrored, name) == pytest.approx(getattr(plain, name), rel=1e-6, abs=1e-12)
    assert plain.margin >= norm.ppf(0.95) * error * (1 - 1e-9)


@given(SCORES, st.floats(0, 0.05), st.integers(0, 40), st.booleans())
def test_the_seeds_that_are_needed_are_enough_and_the_fewest(runs, error, degrees, both):
    bar, known = Bar(0.99, 0.005, 0.2), SeedSpread(0.02, degrees)
    found = compare(runs if both else runs[:1], runs, error, bar, known)
    needed = seeds_needed(found, bar, known, both=both)

    def margin(count: int) -> float:
        seeds = found.seed_sd * math.sqrt((2 if both else 1 + count) / count)
        free = (2 if both else 1) * (count - 1) + degrees
        return math.hypot(t.ppf(0.99, free) * seeds, norm.ppf(0.99) * error)

    if needed is None:
        assert margin(1000) > 0.2
    else:
        assert margin(needed) <= 0.2 * (1 + 1e-9)
        assert needed == 2 or margin(needed - 1) > 0.2 * (1 - 1e-9)


def test_no_number_of_seeds_makes_up_for_a_small_test_set():
    bar = Bar(0.99, 0.0, 0.05)
    assert seeds_needed(compare([0.5], [0.5, 0.51], 0.1, bar), bar) is None


def test_what_is_known_is_pooled_within_groups():
    found = pooled_spread([[0.1, 0.3], [0.9, 0.9, 0.9], [0.5], []])
    assert (found.degrees, found.sd) == (3, pytest.approx(math.sqrt(0.02 / 3)))
    assert pooled_spread([[0.5], []]) == SeedSpread()
    # One run is enough where the spread is known; and nothing can be said where it is not.
    assert compare([0.5], [0.5], 0.0, STRICT, SeedSpread(0.1, 4)).seed_sd == pytest.approx(0.1)
    for first, second, error in (([0.5], [0.5], 0.0), ([], [0.5, 0.6], 0.0), ([math.nan], [0.1, 0.2], 0.0)):
        with pytest.raises(ValueError, match=r"finite|spread"):
            compare(first, second, error, STRICT)
    for bar in ((0.5, 0, 1), (1.0, 0, 1), (0.9, -1, 1), (0.9, 0.2, 0.1), (0.9, 0.0, math.inf)):
        with pytest.raises(ValueError, match="bar"):
            Bar(*bar)
