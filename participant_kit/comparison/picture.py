"""The studies of ``datacup fit`` as pictures: every model, the line and its band; every run's metrics and accuracy."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from competition.data.atomic import write_bytes
from competition.fits import Axes, Fit, to_axes
from competition.printable import printable
from participant_kit.comparison.points import Points
from participant_kit.comparison.study import PERCENT, FittedAxes, MetricStudy

_BLUE, _ORANGE = "#1f5fa8", "#b4531f"
_STEPS = 40
_MARGIN = 0.05
_TICKS = np.array([0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999])


def draw_fits(
    picture: Path, points: Points, columns: tuple[str, str], fits: Mapping[Axes, FittedAxes], *, percent: bool
) -> None:
    """Draw probit and linear fits side by side as SVG (raises ``StorageError``). The same fits give the same bytes."""
    unit = PERCENT if percent else 1.0
    with _panels(picture, len(fits)) as panels:
        for panel, (axes, fitted) in zip(panels, fits.items(), strict=True):
            shares = axes is Axes.PROBIT
            across, up = (points.columns[name] / (unit if shares else 1.0) for name in columns)
            _draw(panel, (across, up), fitted.over_models)
            shown = "share" if shares or not percent else "%"
            names = (f"{printable(name)} ({shown})" for name in columns)
            panel.set(title=_title(fitted.over_models), xlabel=next(names), ylabel=next(names))


def draw_metrics(picture: Path, points: Points, found: Sequence[MetricStudy], accuracy: str) -> None:
    """Draw each metric against the accuracy, run by run, as SVG (raises ``StorageError``); the same bytes again."""
    with _panels(picture, len(found)) as panels:
        for panel, row in zip(panels, found, strict=True):
            panel.scatter(points.columns[row.metric], points.columns[accuracy], s=16, color=_ORANGE)
            title = f"Pearson {row.pearson.value:+.2f}, Spearman {row.spearman.value:+.2f}"
            panel.set(title=title, xlabel=printable(row.metric), ylabel=printable(accuracy))
            panel.grid(alpha=0.3)


@contextmanager
def _panels(picture: Path, count: int) -> Iterator[Sequence[Any]]:
    """Axes of ``count`` panels side by side, which are saved at the end."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "datacup", "svg.fonttype": "none", "text.parse_math": False}):
        figure = Figure(figsize=(5.5 * count, 5), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure.subplots(1, count, squeeze=False)[0]
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    write_bytes(picture, stream.getvalue())


def _draw(panel: Any, data: tuple[Any, Any], fit: Fit) -> None:
    """One panel, drawn in the units in which the line is straight; on probit axes the ticks say accuracies."""
    x, y = (to_axes(values, fit.axes) for values in data)
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    room = _MARGIN * (high - low)
    limits = (low - room, high + room)
    at = np.linspace(float(x.min()) - room, float(x.max()) + room, _STEPS)
    heights = fit.lines @ np.stack([at, np.ones(_STEPS)])
    below, above = np.percentile(heights, [2.5, 97.5], axis=0)
    panel.fill_between(at, below, above, color=_BLUE, alpha=0.2, linewidth=0, label="95 % over models")
    panel.plot(at, fit.slope * at + fit.intercept, color=_BLUE, linewidth=1.5, label="least squares")
    panel.plot(limits, limits, color="#666666", linewidth=1, linestyle="--", label="y = x")
    panel.scatter(x, y, s=16, color=_ORANGE, zorder=3, label=f"{fit.points} models")
    if fit.axes is Axes.PROBIT:
        _label_shares(panel, limits)
    panel.set(xlim=limits, ylim=limits, aspect="equal")
    panel.grid(alpha=0.3)
    panel.legend(loc="upper left")


def _label_shares(panel: Any, limits: tuple[float, float]) -> None:
    ticks = to_axes(_TICKS, Axes.PROBIT)
    inside = (ticks >= limits[0]) & (ticks <= limits[1])
    if np.count_nonzero(inside) < 2:  # accuracies so close together that none of the round ones lies between
        ticks = np.linspace(*limits, 5)
        labels = [f"{share:.3f}" for share in _shares(ticks)]
    else:
        ticks, labels = ticks[inside], [f"{share:g}" for share in _TICKS[inside]]
    panel.set_xticks(ticks, labels)
    panel.set_yticks(ticks, labels)


def _shares(ticks: Any) -> Any:
    from competition.fits import from_axes

    return from_axes(ticks, Axes.PROBIT)


def _title(fit: Fit) -> str:
    low, high = fit.slope_interval
    return f"{fit.axes}: slope {fit.slope:.3f} [{low:.3f}, {high:.3f}]"
