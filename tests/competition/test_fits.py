"""Fits equal numpy's least squares over ImageNetV2's models; intervals cover; correlations equal scipy's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, pearsonr, spearmanr

from competition.fits import Axes, fit_over_images, fit_over_models, pearson, spearman
from competition.statistics import bootstrap_replicates, mcnemar

NEW_SETS = ("imagenetv2-b-33", "imagenetv2-a-44", "imagenetv2-c-12")


def hits(golden: Path, name: str) -> np.ndarray:
    """Right and wrong [models, images]."""
    with np.load(golden / "imagenetv2" / f"{name}.npz", allow_pickle=False) as archive:
        models = [key for key in archive.files if key != "labels"]
        return np.stack([archive[model][:, 0] == archive["labels"] for model in models])


@pytest.mark.parametrize("name", NEW_SETS)
def test_fits_over_the_golden_models_equal_numpys_least_squares(golden: Path, name: str) -> None:
    x, y = hits(golden, "imagenet-validation-original").mean(axis=1), hits(golden, name).mean(axis=1)
    percent = fit_over_models(100 * x, 100 * y, Axes.LINEAR, resamples=500)
    probit = fit_over_models(x, y, Axes.PROBIT, resamples=500)
    for fit, across, up in ((percent, 100 * x, 100 * y), (probit, norm.ppf(x), norm.ppf(y))):
        design = np.stack([across, np.ones_like(across)], axis=1)
        (slope, intercept), residual, _, _ = np.linalg.lstsq(design, up, rcond=None)
        assert (fit.slope, fit.intercept) == pytest.approx((slope, intercept), abs=1e-9)
        assert fit.r_squared == pytest.approx(1 - residual[0] / ((up - up.mean()) ** 2).sum(), abs=1e-9)
        assert fit.slope_interval[0] < slope < fit.slope_interval[1]
        assert fit.points == 24


def test_resampled_lines_equal_a_plain_loop_of_polyfits() -> None:
    generator = np.random.default_rng(3)
    x = generator.uniform(0.3, 0.9, 7)
    y = 0.9 * x - 0.1 + generator.normal(0, 0.01, 7)
    fit = fit_over_models(x, y, Axes.PROBIT, seed=5, resamples=200)
    drawn = np.random.default_rng(5).integers(0, 7, size=(200, 7))
    lines = [np.polyfit(norm.ppf(x[rows]), norm.ppf(y[rows]), 1) for rows in drawn]
    np.testing.assert_allclose(fit.lines, lines, rtol=1e-6, atol=1e-8)
    assert fit.slope_interval == pytest.approx(tuple(np.percentile([line[0] for line in lines], [2.5, 97.5])))


def test_the_interval_over_models_covers_about_as_often_as_promised() -> None:
    covered = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        x = generator.normal(0, 1, 40)
        low, high = fit_over_models(
            x, 1.1 * x + generator.normal(0, 0.3, 40), Axes.LINEAR, resamples=500
        ).slope_interval
        covered += low <= 1.1 <= high
    assert 175 <= covered <= 199


def test_the_interval_over_images_is_that_of_refitting_on_resampled_images() -> None:
    generator = np.random.default_rng(0)
    skill = np.linspace(-0.5, 1.5, 8)
    old, new = (
        (skill[:, None] - shift + generator.normal(0, 1, 300) > 0).astype(float) for shift in (0.0, 0.4)
    )  # hard images are hard for all
    replicates = tuple(
        np.stack([bootstrap_replicates([row], seed_text="s", replicates=80) for row in s]) for s in (old, new)
    )
    fit = fit_over_images(old.mean(axis=1), new.mean(axis=1), Axes.LINEAR, replicates)  # type: ignore[arg-type]
    lines = [np.polyfit(x, y, 1) for x, y in zip(*(part.T for part in replicates), strict=True)]
    np.testing.assert_allclose(fit.lines, lines, atol=1e-9)
    with pytest.raises(ValueError, match="replicates on both"):
        fit_over_images(old.mean(axis=1), new.mean(axis=1), Axes.LINEAR, (replicates[0], replicates[1][:3]))


def test_resamples_without_a_line_are_left_out_and_counted() -> None:
    fit = fit_over_models([0.2, 0.5, 0.9], [0.1, 0.4, 0.8], Axes.LINEAR, resamples=9000)
    assert fit.resamples == 9000
    assert len(fit.lines) / 9000 == pytest.approx(1 - 3 / 27, abs=0.02)  # all three the same: 3 of 27


def test_chunks_do_not_change_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.linspace(0.2, 0.8, 9), np.linspace(0.1, 0.9, 9) ** 1.1
    whole = fit_over_models(x, y, Axes.LINEAR, resamples=100)
    monkeypatch.setattr("competition.fits._CHUNK_ELEMENTS", 70)
    assert np.array_equal(fit_over_models(x, y, Axes.LINEAR, resamples=100).lines, whole.lines)


@pytest.mark.parametrize(
    ("x", "y", "axes", "says"),
    [
        ([0.1, 0.2], [0.1, 0.2], Axes.LINEAR, "at least 3"),
        ([0.1, 0.2, 0.3], [0.1, 0.2], Axes.LINEAR, "at least 3"),
        ([0.5, 0.5, 0.5], [0.1, 0.2, 0.3], Axes.LINEAR, "different values"),
        ([0.5, np.nan, 0.5], [0.1, 0.2, 0.3], Axes.LINEAR, "finite"),
        ([0.5, 0.6, 1.0], [0.1, 0.2, 0.3], Axes.PROBIT, "between 0 and 1"),
        ([50.0, 60.0, 70.0], [0.1, 0.2, 0.3], Axes.PROBIT, "between 0 and 1"),
    ],
)
def test_what_has_no_fit_is_refused(x: list[float], y: list[float], axes: Axes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fit_over_models(x, y, axes)


runs = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=4, max_size=30).filter(
    lambda pairs: all(len(set(side)) > 1 for side in zip(*pairs, strict=True))
)


@given(runs)
def test_correlations_equal_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = map(np.array, zip(*pairs, strict=True))
    theirs = pearsonr(x, y)
    ours = pearson(x, y)
    assert ours.value == pytest.approx(theirs.statistic, abs=1e-9)
    assert spearman(x, y).value == pytest.approx(spearmanr(x, y).statistic, abs=1e-9)
    if abs(theirs.statistic) < 0.999999:
        interval = theirs.confidence_interval()
        assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    ranked = spearman(x, y)
    assert -1 <= ranked.low <= ranked.value + 1e-12
    assert ranked.value - 1e-12 <= ranked.high <= 1


def test_spearmans_interval_by_hand() -> None:
    """Ranks 1 to 5 against 2, 1, 4, 3, 5 differ by 1 four times: 1 - 6 * 4 / (5 * 24) = 0.8. Then artanh 0.8 = 1.09861,
    and the standard error of Bonett and Wright is sqrt((1 + 0.64 / 2) / 2) = 0.81240."""
    found = spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5])
    assert found.value == pytest.approx(0.8)
    assert found.low == pytest.approx(np.tanh(1.0986123 - 1.9599640 * 0.8124038), abs=1e-6)
    assert found.high == pytest.approx(np.tanh(1.0986123 + 1.9599640 * 0.8124038), abs=1e-6)


def test_spearmans_interval_covers_about_as_often_as_promised() -> None:
    truth = 6 / np.pi * np.arcsin(0.7 / 2)  # of a normal pair with Pearson's correlation 0.7
    covered = 0
    for seed in range(400):
        generator = np.random.default_rng(seed)
        x = generator.normal(size=40)
        found = spearman(x, 0.7 * x + np.sqrt(1 - 0.49) * generator.normal(size=40))
        covered += found.low <= truth <= found.high
    assert 366 <= covered <= 394


@pytest.mark.parametrize(
    ("x", "says"), [([1, 2, 3], "at least 4"), ([1, 1, 1, 1], "the same in all"), ([1, 2, np.inf, 3], "finite")]
)
def test_what_has_no_correlation_is_refused(x: list[float], says: str) -> None:
    for measure in (pearson, spearman):
        with pytest.raises(ValueError, match=says):
            measure(x, list(range(len(x))))


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_exact_sign_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError):
        mcnemar(-1, second)
