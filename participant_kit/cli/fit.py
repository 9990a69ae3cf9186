"""``datacup fit``: two test sets over many models, and dataset metrics over many runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.errors import UsageError
from participant_kit.cli.console import Console, JsonOption

if TYPE_CHECKING:
    from competition.fits import Correlation, Fit
    from participant_kit.comparison.points import Points
    from participant_kit.comparison.study import FittedAxes


def command(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...", help="A .csv with a row for each model, or evaluation reports (or runs' folders)."
        ),
    ],
    y: Annotated[str, typer.Option("--y", help="Column, or task (TASK or TASK:METRIC): the new test set.")],
    x: Annotated[str | None, typer.Option("--x", help="Likewise: the old test set.")] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", help="Instead of --x: columns, divided by commas, to correlate with --y."),
    ] = None,
    percent: Annotated[bool, typer.Option("--percent", help="The CSV's accuracies are percentages.")] = False,
    save_path: Annotated[Path | None, typer.Option("--save-path", help="Where the picture goes: an .svg file.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the resampled models; recorded.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Fit one test set's accuracy to another's over models.

    Probit and linear least squares, with intervals over models and, where reports hold outcomes, over images. With
    --metrics: how metrics of datasets go together with an accuracy over runs.
    """
    if (x is None) == (metrics is None):
        raise UsageError("Give either --x or --metrics.", hint="For example: --x old --y new")
    console = Console(as_json=as_json)
    if save_path is not None and save_path.suffix != ".svg":
        raise UsageError(f"The save path {save_path} does not end in .svg.")
    if metrics is not None:
        if percent:
            raise UsageError("--percent belongs to a fit, not to --metrics.")
        _correlate(console, inputs, [name.strip() for name in metrics.split(",")], y, save_path)
        return
    if percent and inputs[0].suffix != ".csv":
        raise UsageError("Reports hold shares of 1, never percentages.", hint="Leave --percent away.")
    _fit(console, inputs, (x or "", y), percent=percent, picture=save_path, seed=seed)


def _fit(
    console: Console, inputs: list[Path], columns: tuple[str, str], *, percent: bool, picture: Path | None, seed: int
) -> None:
    from participant_kit.comparison.points import read_points
    from participant_kit.comparison.study import fit_study

    with console.progress("Reading") as progress:
        points = read_points(inputs, columns, progress, replicated=True)
    _say_left_out(console, points)
    fits = fit_study(points, *columns, percent=percent, seed=seed)
    unknown = [column for column in columns if column not in points.replicates]
    if unknown and inputs[0].suffix != ".csv":
        console.note(f"No interval over images: the reports hold no outcomes of the same images for {unknown[0]}.")
    if picture is not None:
        from participant_kit.comparison.picture import draw_fits

        draw_fits(picture, points, columns, fits, percent=percent)
        console.note(f"Picture: {picture}")
    payload = {
        "x": columns[0],
        "y": columns[1],
        "unit": "percent" if percent else "share",
        "models": len(points.names),
        "left_out": points.left_out,
        "seed": seed,
        "picture": str(picture) if picture else None,
        "fits": {str(axes): fitted.as_json() for axes, fitted in fits.items()},
    }
    rows = [row for axes, fitted in fits.items() for row in _rows(str(axes), fitted)]
    header = ["fit", "interval over", "slope [95 % interval]", "intercept [95 % interval]", "R²", "n"]
    console.table(payload, f"{columns[1]} on {columns[0]}", header, rows)


def _rows(axes: str, fitted: FittedAxes) -> list[list[str]]:
    kinds = [("models", fitted.over_models)]
    if fitted.over_images is not None:
        kinds.append(("images", fitted.over_images))
    return [[axes, kind, *_shown(fit), f"{fit.r_squared:.4f}", str(fit.points)] for kind, fit in kinds]


def _shown(fit: Fit) -> tuple[str, str]:
    low, high = fit.slope_interval
    least, most = fit.intercept_interval
    return f"{fit.slope:.3f} [{low:.3f}, {high:.3f}]", f"{fit.intercept:.3f} [{least:.3f}, {most:.3f}]"


def _correlate(console: Console, inputs: list[Path], metrics: list[str], y: str, picture: Path | None) -> None:
    from dataclasses import asdict

    from participant_kit.comparison.points import read_points
    from participant_kit.comparison.study import metric_study

    with console.progress("Reading") as progress:
        points = read_points(inputs, [*metrics, y], progress)
    _say_left_out(console, points)
    found = metric_study(points, metrics, y)
    if picture is not None:
        from participant_kit.comparison.picture import draw_metrics

        draw_metrics(picture, points, found, y)
        console.note(f"Picture: {picture}")
    payload = {
        "y": y,
        "runs": len(points.names),
        "left_out": points.left_out,
        "metrics": [asdict(row) for row in found],
    }
    rows = [
        [row.metric, _coefficient(row.pearson), _coefficient(row.spearman), str(row.pearson.points)] for row in found
    ]
    header = ["metric", "Pearson [95 % interval]", "Spearman [95 % interval]", "runs"]
    console.table(payload, f"correlation with {y}", header, rows)


def _coefficient(found: Correlation) -> str:
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _say_left_out(console: Console, points: Points) -> None:
    if points.left_out:
        console.note(f"Left out for want of a number: {', '.join(points.left_out)}.")
