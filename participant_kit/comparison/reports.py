"""Reading evaluation reports to compare them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError, UsageError
from competition.records.evaluation import EvaluationReport, TaskResult
from participant_kit.evaluation import REPORT_FILE

MAX_REPORT_BYTES = 1 << 28

Floats = NDArray[np.float64]


def read_report(place: Path) -> EvaluationReport:
    """The evaluation report in a file, or in a run's folder.

    Raises:
        UsageError: there is none.
        DataFormatError: it is not a report, or has more than 256 MiB.
        StorageError: it cannot be read.
    """
    path = place / REPORT_FILE if place.is_dir() else place
    if not path.is_file():
        raise UsageError(
            f"There is no evaluation report {path}.",
            hint="Run `datacup evaluate` first, or name its evaluation_report.json.",
        )
    with storage_errors("reading", path), path.open("rb") as stream:
        content = stream.read(MAX_REPORT_BYTES + 1)
    if len(content) > MAX_REPORT_BYTES:
        raise DataFormatError(f"The report {path} has more than {MAX_REPORT_BYTES:,} bytes.")
    try:
        return EvaluationReport.model_validate_json(content)
    except ValidationError as error:
        hint = "Name the evaluation_report.json that `datacup evaluate` wrote, or the run's folder."
        raise DataFormatError(f"{path} is not an evaluation report.", hint=hint) from error


def result_of(report: EvaluationReport, task: str, place: Path) -> TaskResult:
    """The report's result of a task (raises ``UsageError`` when it has none)."""
    for result in report.results:
        if result.task == task:
            return result
    known = ", ".join(result.task for result in report.results)
    raise UsageError(f"The report of {place} has no task {task!r}.", hint=f"It has: {known or 'none'}.")


def decoded(result: TaskResult, place: Path) -> list[Floats]:
    """The outcomes behind a result, component by component (raises ``DataFormatError`` when they cannot be read)."""
    try:
        return [outcomes.decode() for outcomes in result.outcomes]
    except ValueError as error:
        raise DataFormatError(f"The report of {place}, task {result.task!r}: {error}.") from error
