"""Fits over many models draw fewer resamples, the first ones, and their intervals still cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition import fits
from competition.fits import LEAST_RESAMPLES, MOST_POINTS, RESAMPLES, Axes, fit_over_models, resamples_of


@given(st.integers(0, MOST_POINTS))
def test_the_models_drawn_are_bounded_and_never_too_few(points: int) -> None:
    resamples = resamples_of(points)
    assert LEAST_RESAMPLES <= resamples <= RESAMPLES
    assert resamples * points <= 50_000_000
    assert resamples == RESAMPLES or points > 500
    assert resamples_of(points, 50) == 50


def test_thousands_of_models_are_fitted_with_the_first_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(0, 1, 5000)
    y = 0.8 * x + generator.normal(0, 0.2, 5000)
    fit = fit_over_models(x, y, Axes.LINEAR, seed=3)
    assert fit.resamples == len(fit.lines) == 10_000
    few = fit_over_models(x, y, Axes.LINEAR, seed=3, resamples=700)
    assert np.array_equal(few.lines, fit.lines[:700])
    # Of so many models the slope's distribution is known: normal, with the sandwich's standard error.
    centred, residual = x - x.mean(), y - fit.slope * x - fit.intercept
    error = np.sqrt((centred**2 * residual**2).sum()) / (centred**2).sum()
    assert fit.slope_interval == pytest.approx((fit.slope - 1.96 * error, fit.slope + 1.96 * error), abs=0.1 * error)


def test_intervals_of_the_fewest_resamples_cover_about_as_often_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "_MOST_DRAWS", 1)
    covered = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        x = generator.normal(0, 1, 60)
        fit = fit_over_models(x, 1.1 * x + generator.normal(0, 0.3, 60), Axes.LINEAR)
        assert fit.resamples == LEAST_RESAMPLES
        covered += fit.slope_interval[0] <= 1.1 <= fit.slope_interval[1]
    assert 86 <= covered <= 99


def test_more_models_than_that_are_refused() -> None:
    x = np.linspace(0.1, 0.9, MOST_POINTS + 1)
    with pytest.raises(ValueError, match="at most 25,000 pairs, not 25,001"):
        fit_over_models(x, x, Axes.PROBIT)
