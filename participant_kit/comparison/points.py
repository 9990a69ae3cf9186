"""Numbers of several runs, column by column: from a CSV, or from evaluation reports."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError, UsageError
from competition.fits import MOST_POINTS
from competition.progress import Progress, ProgressHook
from competition.records.evaluation import EvaluationReport, TaskResult
from competition.rules.protocols import UNBOUNDED
from competition.statistics import common_replicates
from participant_kit.comparison.cost import affordable_replicates
from participant_kit.comparison.reports import Floats, decoded, read_report, result_of

MAX_TABLE_BYTES = 1 << 26
MAX_ROWS = MOST_POINTS
_SEPARATOR = ":"


@dataclass(frozen=True, eq=False)
class Points:
    """Numbers of runs.

    Args:
        names: of the runs: a report's place, or a row's line of the file.
        columns: the numbers of every run, by the name of the column; float64 [runs] each.
        left_out: names of the runs without a number in one of the columns.
        replicates: of columns whose single outcomes are known, under resampled images, [runs, R] each.
        unbounded: columns of reports that are no shares, such as distances, with their metric.
    """

    names: tuple[str, ...]
    columns: dict[str, Floats]
    left_out: tuple[str, ...]
    replicates: dict[str, Floats]
    unbounded: dict[str, str] = field(default_factory=dict)


def read_points(
    inputs: Sequence[Path], columns: Sequence[str], progress: ProgressHook, *, replicated: bool = False
) -> Points:
    """Numbers of several runs.

    Args:
        inputs: one ``.csv`` with a row for each run, or one evaluation report (or run's folder) for each run.
        columns: names of the CSV's columns; of reports, tasks, as ``TASK`` (its value) or ``TASK:METRIC``.
        progress: hears of each report, and of each column that is resampled.
        replicated: also resample the images of reports, the same for all runs.

    Raises:
        UsageError: there is no such file, column, task or metric; reports are of different suites, or have more images
            than can be resampled.
        DataFormatError: a file is not what it should be; the message names the line.
        StorageError: a file cannot be read.
    """
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise UsageError(f"The column {repeated[0]!r} is named twice.", hint="Compare different columns.")
    tables = [path for path in inputs if path.suffix == ".csv"]
    if tables and len(inputs) > 1:
        raise UsageError("A table is read alone.", hint="Give one .csv, or evaluation reports.")
    return _of_table(tables[0], columns) if tables else _of_reports(inputs, columns, progress, replicated=replicated)


def _of_table(path: Path, columns: Sequence[str]) -> Points:
    if not path.is_file():
        raise UsageError(f"There is no table {path}.")
    with storage_errors("reading", path), path.open("rb") as stream:
        content = stream.read(MAX_TABLE_BYTES + 1)
    if len(content) > MAX_TABLE_BYTES:
        raise DataFormatError(f"The table {path} has more than {MAX_TABLE_BYTES:,} bytes.")
    try:
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        places = [_place(header, column, path) for column in columns]
        rows = list(islice(((lines.line_num, row) for row in lines if row), MAX_ROWS + 1))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataFormatError(f"{path} is not a CSV in UTF-8: {error}.") from error
    if len(rows) > MAX_ROWS:
        raise DataFormatError(f"The table {path} has more than {MAX_ROWS:,} rows.", hint="A row is a model or a run.")
    names, values, left_out = [], [], []
    for line, row in rows:
        if len(row) != len(header):
            raise DataFormatError(f"{path}, line {line}: it has {len(row)} cells, the header {len(header)}.")
        cells = [row[place].strip() for place in places]
        if not all(cells):
            left_out.append(f"line {line}")
            continue
        names.append(f"line {line}")
        values.append([_number(cell, f"{path}, line {line}") for cell in cells])
    array = np.array(values, dtype=np.float64).reshape(len(values), len(columns))
    return Points(tuple(names), dict(zip(columns, array.T, strict=True)), tuple(left_out), {})


def _place(header: list[str], column: str, path: Path) -> int:
    names = [name.strip() for name in header]
    if names.count(column) == 1:
        return names.index(column)
    several = "several columns" if column in names else "no column"
    raise UsageError(f"{path} has {several} {column!r}.", hint=f"Its columns are: {', '.join(names) or 'none'}.")


def _number(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataFormatError(f"{where}: {cell[:40]!r} is not a finite number.", hint="Leave a missing number empty.")
    return value


def _of_reports(places: Sequence[Path], columns: Sequence[str], progress: ProgressHook, *, replicated: bool) -> Points:
    reports: list[EvaluationReport] = []
    for place in places:
        progress(Progress("reading reports", len(reports), len(places), task=str(place)))
        reports.append(read_report(place))
    digests = {report.suite_digest for report in reports}
    if len(digests) > 1:
        raise UsageError(
            f"The reports are of {len(digests)} different suites.", hint="Evaluate all runs with one suite."
        )
    found = [
        [_value(report, column, place) for column in columns] for report, place in zip(reports, places, strict=True)
    ]
    whole = [position for position, row in enumerate(found) if None not in row]
    array = np.array([found[position] for position in whole], dtype=np.float64).reshape(len(whole), len(columns))
    kept = [(reports[position], places[position]) for position in whole]
    replicates = _resampled(kept, columns, progress) if replicated and kept else {}
    return Points(
        tuple(str(place) for _, place in kept),
        dict(zip(columns, array.T, strict=True)),
        tuple(str(place) for place, row in zip(places, found, strict=True) if None in row),
        replicates,
        {column: metric for column in columns if (metric := _metric(reports[0], column, places[0])) in UNBOUNDED},
    )


def _metric(report: EvaluationReport, column: str, place: Path) -> str:
    task, _, metric = column.partition(_SEPARATOR)
    return metric or result_of(report, task, place).metric


def _value(report: EvaluationReport, column: str, place: Path) -> float | None:
    """The number of a column; ``None`` where the metric is not defined for this run."""
    task, _, metric = column.partition(_SEPARATOR)
    result = result_of(report, task, place)
    if not metric:
        return result.value
    if metric not in result.metrics:
        known = ", ".join(result.metrics)
        raise UsageError(f"Task {task!r} of {place} has no metric {metric!r}.", hint=f"It has: {known}.")
    return result.metrics[metric]


def _resampled(
    reports: Sequence[tuple[EvaluationReport, Path]], columns: Sequence[str], progress: ProgressHook
) -> dict[str, Floats]:
    """Replicates [runs, R] of the columns' values, where every report holds outcomes of the same units."""
    found = {column: _same_units(reports, column) for column in columns}
    usable = {column: results for column, results in found.items() if results}
    replicates = affordable_replicates(usable.values())
    resampled: dict[str, Floats] = {}
    for column, results in usable.items():
        progress(Progress("resampling images", len(resampled), len(usable), task=column))
        units = [decoded(result, place) for result, (_, place) in zip(results, reports, strict=True)]
        resampled[column] = common_replicates(units, seed_text=reports[0][0].suite_digest, replicates=replicates)
    return resampled


def _same_units(reports: Sequence[tuple[EvaluationReport, Path]], column: str) -> list[TaskResult]:
    """The results behind a column; none where one has no outcomes, or they are of other units."""
    task, _, metric = column.partition(_SEPARATOR)
    results = [result_of(report, task, place) for report, place in reports]
    sizes = {(result.units, *(part.count for part in result.outcomes)) for result in results}
    whole = all(result.outcomes and metric in {"", result.metric} for result in results)
    return results if whole and len(sizes) == 1 else []
