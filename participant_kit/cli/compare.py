"""``datacup compare``: two evaluations unit by unit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.rules.protocols import LESS_IS_BETTER
from participant_kit.cli.console import Console, JsonOption

if TYPE_CHECKING:
    from participant_kit.comparison.paired import Comparison, TaskComparison

_SAID = {"first": "A", "second": "B", "neither": "not told apart", "": "not compared"}


def command(
    first: Annotated[Path, typer.Argument(metavar="A", help="A run's folder, or an evaluation_report.json.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one, of the same suite.")],
    as_json: JsonOption = False,
) -> None:
    """Whether A is better than B, task by task.

    The same images are resampled for both (paired bootstrap); where answers are right or wrong, McNemar's test too.
    """
    from competition.statistics import REPLICATES
    from participant_kit.comparison.paired import compare_reports
    from participant_kit.comparison.reports import read_report

    console = Console(as_json=as_json)
    reports = read_report(first), read_report(second)
    with console.progress("Comparing") as progress:
        found = compare_reports(*reports, (first, second), progress)
    for side, tasks in (("A", found.only_first), ("B", found.only_second)):
        if tasks:
            console.note(f"Only in {side}, and not compared: {', '.join(tasks)}")
    for task in found.tasks:
        if task.unpaired:
            console.note(f"{task.task} cannot be paired: {task.unpaired}.")
    if found.replicates < REPLICATES:
        console.note(f"So many images: {found.replicates:,} resamples are drawn instead of {REPLICATES:,}.")
    payload = {"suite": reports[0].suite, "first": str(first), "second": str(second)} | found.as_json()
    columns = ["task", "metric", "A", "B", "A - B [95 % interval]", "only A / only B right", "McNemar p", "better"]
    console.table(payload, f"{first} (A) and {second} (B), {reports[0].suite}", columns, _rows(found))


def _rows(found: Comparison) -> list[list[str]]:
    rows = [_row(task) for task in found.tasks]
    if found.mean is not None:
        difference, (low, high) = found.mean
        shown = f"{difference:+.4f} [{low:+.4f}, {high:+.4f}]"
        rows.append(["mean of the tasks", "", "", "", shown, "", "", _SAID[found.mean_better]])
    return rows


def _row(task: TaskComparison) -> list[str]:
    interval = "" if task.interval is None else f" [{task.interval[0]:+.4f}, {task.interval[1]:+.4f}]"
    alone = "" if task.mcnemar is None else f"{task.mcnemar.only_first} / {task.mcnemar.only_second}"
    p = "" if task.mcnemar is None else f"{task.mcnemar.p:.2g}"
    metric = f"{task.metric} (less is better)" if task.metric in LESS_IS_BETTER else task.metric
    values = [f"{task.first:.4f}", f"{task.second:.4f}", f"{task.difference:+.4f}{interval}"]
    return [task.task, metric, *values, alone, p, _SAID[task.better]]
