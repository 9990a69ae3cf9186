"""The two studies of ``datacup fit``: accuracies on two test sets, and metrics of datasets against an accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from competition.errors import UsageError
from competition.fits import (
    LEAST_POINTS,
    LEAST_RUNS,
    Axes,
    Correlation,
    Fit,
    fit_over_images,
    fit_over_models,
    pearson,
    spearman,
)
from participant_kit.comparison.points import Points

PERCENT = 100.0


@dataclass(frozen=True, eq=False)
class FittedAxes:
    """The line on one kind of axes: uncertain by the models, and, where single outcomes are known, by the images."""

    over_models: Fit
    over_images: Fit | None

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON."""
        fit = self.over_models
        return {
            "slope": fit.slope,
            "intercept": fit.intercept,
            "r_squared": fit.r_squared,
            "over_models": _uncertainty(fit),
            "over_images": self.over_images and _uncertainty(self.over_images),
        }


def fit_study(points: Points, x: str, y: str, *, percent: bool, seed: int) -> dict[Axes, FittedAxes]:
    """Probit and linear fits of column ``y`` on column ``x``.

    Args:
        points: accuracies of every model.
        x: name of a column.
        y: of another one.
        percent: accuracies are percentages instead of shares of 1; the linear fit keeps that unit.
        seed: of the resampled models.

    Raises:
        UsageError: there are too few models; accuracies are not between 0 and 1 (0 and 100), or no accuracies; x is
            constant.
    """
    for column in (x, y):
        if column in points.unbounded:
            raise UsageError(
                f"{column} ({points.unbounded[column]}) is no share, so it has no probit.",
                hint="Correlate it with an accuracy: --metrics TASK --y TASK.",
            )
    across, up = points.columns[x], points.columns[y]
    unit = PERCENT if percent else 1.0
    if len(across) < LEAST_POINTS:
        raise UsageError(f"A fit needs at least {LEAST_POINTS} models with both numbers; there are {len(across)}.")
    for column, values in ((x, across), (y, up)):
        _check_shares(points, column, values / unit, percent=percent)
    try:
        return {
            axes: FittedAxes(
                fit_over_models(across / scale, up / scale, axes, seed=seed),
                _over_images(points, (x, y), axes),
            )
            for axes, scale in ((Axes.PROBIT, unit), (Axes.LINEAR, 1.0))
        }
    except ValueError as error:
        raise UsageError(f"There is no fit: {error}.", hint="Add models of other accuracies.") from error


def _check_shares(points: Points, column: str, shares: Any, *, percent: bool) -> None:
    outside = np.flatnonzero((shares <= 0) | (shares >= 1))
    if not len(outside):
        return
    limit = PERCENT if percent else 1.0
    value = points.columns[column][outside[0]]
    hint = "Leave that model out: all right or all wrong says nothing about how good it is."
    if value > limit and not percent:
        hint = "Are these percentages? Then add --percent."
    raise UsageError(
        f"{points.names[outside[0]]}: {column} is {value:g}; the probit of an accuracy lies between 0 and {limit:g}.",
        hint=hint,
    )


def _over_images(points: Points, columns: tuple[str, str], axes: Axes) -> Fit | None:
    x, y = columns
    if x not in points.replicates or y not in points.replicates:
        return None
    return fit_over_images(points.columns[x], points.columns[y], axes, (points.replicates[x], points.replicates[y]))


def _uncertainty(fit: Fit) -> dict[str, Any]:
    return {
        "slope_interval": fit.slope_interval,
        "intercept_interval": fit.intercept_interval,
        "resamples": fit.resamples,
        "without_a_line": fit.resamples - len(fit.lines),
    }


@dataclass(frozen=True, slots=True)
class MetricStudy:
    """How one metric of datasets goes together with the accuracy, over runs."""

    metric: str
    pearson: Correlation
    spearman: Correlation


def metric_study(points: Points, metrics: Sequence[str], accuracy: str) -> list[MetricStudy]:
    """Pearson's and Spearman's correlation of each metric with the accuracy, in the order of the metrics.

    Raises:
        UsageError: fewer than four runs have all numbers, or a column is the same in all of them.
    """
    runs = len(points.names)
    if runs < LEAST_RUNS:
        raise UsageError(f"A correlation needs at least {LEAST_RUNS} runs with all numbers; there are {runs}.")
    for column, values in points.columns.items():
        if np.ptp(values) == 0:
            raise UsageError(f"{column} is {values[0]:g} in all runs, so it correlates with nothing.")
    return [
        MetricStudy(
            metric,
            pearson(points.columns[metric], points.columns[accuracy]),
            spearman(points.columns[metric], points.columns[accuracy]),
        )
        for metric in metrics
    ]
