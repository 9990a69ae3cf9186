"""How one test set's accuracy follows another's over models: linear and probit fits; and correlations over runs.

ImageNetV2's study (arXiv 1902.10811): accuracies on a new test set are nearly a line in those on the old one, better
still after the probit transformation (the inverse of the normal distribution function), which a few weak models do not
bend. GenBench's study: whether a metric of a dataset goes together with the accuracy of a probe trained on it.

Pure and seeded; intervals are at 95 % unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

from competition.statistics import CONFIDENCE, percentile_interval

RESAMPLES = 100_000
"""Of the models; as many as ImageNetV2 takes. Above 500 models fewer, see ``resamples_of``."""
LEAST_RESAMPLES = 2000
MOST_POINTS = 25_000
_MOST_DRAWS = 50_000_000
LEAST_POINTS = 3
LEAST_RUNS = 4
_CHUNK_ELEMENTS = 5_000_000
_LEAST_USABLE = 0.5

Floats = NDArray[np.float64]
Interval = tuple[float, float]


class Axes(StrEnum):
    """In which units a line is fitted."""

    LINEAR = "linear"
    PROBIT = "probit"


@dataclass(frozen=True, eq=False)
class Fit:
    """The least-squares line ``y = slope * x + intercept``, both axes as ``axes`` says.

    Args:
        axes: linear: in the units given; probit: of shares in (0, 1), transformed.
        slope: of the line.
        intercept: where it meets x = 0 (of probit axes: a share of one half).
        r_squared: share of the variance of y that the line explains; 1 where y is constant and met exactly.
        points: how many models there are.
        lines: slope and intercept of every usable resample [R, 2].
        resamples: how many were drawn. Those in which x is constant, or a share is 0 or 1 on probit axes, have no line.
    """

    axes: Axes
    slope: float
    intercept: float
    r_squared: float
    points: int
    lines: Floats
    resamples: int

    @property
    def slope_interval(self) -> Interval:
        """95 % percentile interval of the slope."""
        return percentile_interval(self.lines[:, 0])

    @property
    def intercept_interval(self) -> Interval:
        """95 % percentile interval of the intercept."""
        return percentile_interval(self.lines[:, 1])


def to_axes(values: ArrayLike, axes: Axes) -> Floats:
    """Values in the units in which the line is straight; on probit axes 0 and 1 are infinitely far."""
    plain = np.asarray(values, dtype=np.float64)
    return np.asarray(norm.ppf(plain), dtype=np.float64) if axes is Axes.PROBIT else plain


def from_axes(values: Floats, axes: Axes) -> Floats:
    """The inverse of ``to_axes``."""
    return np.asarray(norm.cdf(values), dtype=np.float64) if axes is Axes.PROBIT else values


def resamples_of(points: int, wanted: int = RESAMPLES) -> int:
    """How often so many models are drawn anew: ``wanted`` times, but at most 50 million models in all.

    That is 100,000 times up to 500 models, and 2,000 times, as often as images are resampled, for the 25,000 that a fit
    has at most. The ends of an interval vary with the resamples by a share of its width that does not depend on how
    many models there are.
    """
    return min(wanted, max(LEAST_RESAMPLES, _MOST_DRAWS // max(points, 1)))


def fit_over_models(x: ArrayLike, y: ArrayLike, axes: Axes, *, seed: int = 0, resamples: int = RESAMPLES) -> Fit:
    """The line through models' accuracies, uncertain by which models there are (bootstrap of pairs).

    Args:
        x: of every model on the one test set [M].
        y: on the other one.
        axes: in which units the line is straight.
        seed: of the resamples.
        resamples: how many, at most: above 500 models ``resamples_of`` may say fewer, the first ones of these.

    Raises ``ValueError`` for fewer than three models or more than 25,000, a constant x, values that are not finite (on
    probit axes: not between 0 and 1), or when half of the resamples have no line.
    """
    across, up = _on_axes(x, y, axes)
    generator = np.random.default_rng(seed)
    resamples = resamples_of(len(across), resamples)
    lines = np.empty((resamples, 2))
    rows = max(1, _CHUNK_ELEMENTS // len(across))
    for start in range(0, resamples, rows):
        drawn = generator.integers(0, len(across), size=(min(rows, resamples - start), len(across)))
        lines[start : start + len(drawn)] = _lines(across[drawn], up[drawn])
    return _fit(across, up, axes, lines)


def fit_over_images(x: ArrayLike, y: ArrayLike, axes: Axes, replicates: tuple[Floats, Floats]) -> Fit:
    """The line through models' accuracies, uncertain by which images the two test sets hold.

    Args:
        x: of every model on the one test set [M].
        y: on the other one.
        axes: in which units the line is straight.
        replicates: of x and of y under resampled images, [M, R] each: the same images for all models
            (``competition.statistics.bootstrap_replicates``).

    Raises ``ValueError`` as ``fit_over_models`` does, and when there are no replicates of every value.
    """
    across, up = _on_axes(x, y, axes)
    if any(part.ndim != 2 or len(part) != len(across) for part in replicates):
        raise ValueError("every model needs its replicates on both test sets")
    return _fit(across, up, axes, _lines(to_axes(replicates[0].T, axes), to_axes(replicates[1].T, axes)))


def _on_axes(x: ArrayLike, y: ArrayLike, axes: Axes) -> tuple[Floats, Floats]:
    across, up = to_axes(x, axes), to_axes(y, axes)
    if across.shape != up.shape or across.ndim != 1 or len(across) < LEAST_POINTS:
        raise ValueError(f"a fit needs at least {LEAST_POINTS} pairs, not {across.shape} and {up.shape} values")
    if len(across) > MOST_POINTS:
        raise ValueError(f"a fit takes at most {MOST_POINTS:,} pairs, not {len(across):,}")
    if not (np.isfinite(across).all() and np.isfinite(up).all()):
        between = " between 0 and 1" if axes is Axes.PROBIT else ""
        raise ValueError(f"a {axes} fit needs finite values{between}")
    if np.ptp(across) == 0:
        raise ValueError("a fit needs different values of x")
    return across, up


def _lines(x: Floats, y: Floats) -> Floats:
    """Slope and intercept [R, 2] through the points of each row of x and y [R, M]; NaN where x is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = x.mean(axis=1), y.mean(axis=1)
        centred = x - mean_x[:, None]
        spread = np.where(np.ptp(x, axis=1) > 0, (centred * centred).sum(axis=1), np.nan)
        slope = (centred * (y - mean_y[:, None])).sum(axis=1) / spread
        return np.stack([slope, mean_y - slope * mean_x], axis=1)


def _fit(across: Floats, up: Floats, axes: Axes, lines: Floats) -> Fit:
    slope, intercept = map(float, _lines(across[None], up[None])[0])
    usable = lines[np.isfinite(lines).all(axis=1)]
    if len(usable) < _LEAST_USABLE * len(lines) or not len(usable):
        raise ValueError(
            f"only {len(usable)} of {len(lines)} resamples have a line: there are too few different values"
        )
    residual, total = up - slope * across - intercept, up - up.mean()
    unexplained, variance = float(residual @ residual), float(total @ total)
    r_squared = 1.0 - unexplained / variance if variance > 0 else 1.0
    return Fit(axes, slope, intercept, r_squared, len(across), usable, len(lines))


@dataclass(frozen=True, slots=True)
class Correlation:
    """A correlation coefficient with its interval, over ``points`` runs."""

    value: float
    low: float
    high: float
    points: int


def pearson(x: ArrayLike, y: ArrayLike, confidence: float = CONFIDENCE) -> Correlation:
    """Pearson's correlation with Fisher's interval (z = artanh r, standard error 1 / sqrt(n - 3)).

    Raises ``ValueError`` for fewer than four runs, a constant side, or a value that is not finite.
    """
    first, second = _runs(x, y)
    return _interval(_coefficient(first, second), 1.0, len(first), confidence)


def spearman(x: ArrayLike, y: ArrayLike, confidence: float = CONFIDENCE) -> Correlation:
    """Spearman's rank correlation (ties share their mean rank) with the interval of Bonett and Wright (2000), whose
    standard error of artanh r is sqrt((1 + r**2 / 2) / (n - 3)). Raises ``ValueError`` as ``pearson`` does."""
    first, second = _runs(x, y)
    value = _coefficient(rankdata(first), rankdata(second))
    return _interval(value, 1.0 + value * value / 2.0, len(first), confidence)


def _runs(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or len(first) < LEAST_RUNS:
        raise ValueError(f"a correlation needs at least {LEAST_RUNS} runs")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a correlation needs finite values")
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        raise ValueError("what is the same in all runs correlates with nothing")
    return first, second


def _coefficient(first: Floats, second: Floats) -> float:
    x, y = first - first.mean(), second - second.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(np.clip((x @ y) / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def _interval(value: float, inflation: float, points: int, confidence: float) -> Correlation:
    half = float(norm.ppf(0.5 + confidence / 2.0)) * np.sqrt(inflation / (points - LEAST_RUNS + 1))
    with np.errstate(divide="ignore"):  # a perfect correlation is infinitely far, and so are its limits
        centre = np.arctanh(value)
    return Correlation(value, float(np.tanh(centre - half)), float(np.tanh(centre + half)), points)
