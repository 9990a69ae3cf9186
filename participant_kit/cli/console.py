"""What a command shows: results on stdout (a table, or JSON with ``--json``), notes and progress on stderr.

Rich draws tables and progress bars and is imported for these alone: most commands need neither, and it takes longer to
import than a million samples to choose.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from competition.printable import printable
from competition.progress import Progress, ProgressHook, progress_lines

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]

_NAME_WIDTH = 20


class Console:
    """The output of one command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def note(self, text: str) -> None:
        """Say something to the person at the terminal."""
        typer.echo(text, err=True)

    def next_step(self, command: str) -> None:
        """Say what to do next, to a person: a program that reads JSON knows."""
        if not self.as_json:
            typer.echo(f"Next: {command}", err=True)

    def pairs(self, payload: Mapping[str, Any], shown: Mapping[str, object]) -> None:
        """The result of a command: ``payload`` as JSON, or ``shown`` as two aligned columns."""
        if self.as_json:
            self._json(payload)
            return
        width = max(map(len, shown))
        for name, value in shown.items():
            typer.echo(f"{name:<{width}}  {value}")

    def table(self, payload: object, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The result of a command: ``payload`` as JSON, or a table."""
        if self.as_json:
            self._json(payload)
            return
        from rich.console import Console as RichConsole
        from rich.table import Table

        table = Table(title=title or None, title_justify="left", header_style="bold")
        for position, column in enumerate(columns):
            table.add_column(column, justify="left" if position < 1 else "right", overflow="fold")
        for row in rows:
            table.add_row(*(printable(cell) for cell in row))
        RichConsole(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160).print(table)

    def _json(self, payload: object) -> None:
        typer.echo(json.dumps(payload, indent=2, ensure_ascii=False))

    @contextmanager
    def progress(self, title: str) -> Iterator[ProgressHook]:
        """A progress bar on stderr (now and then a line when stderr is no terminal); yields the hook that moves it."""
        if not sys.stderr.isatty():
            self.note(f"{title} ...")
            yield progress_lines(self.note)
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as ProgressBars

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with ProgressBars(*columns, console=RichConsole(stderr=True), transient=True) as bars:
            task = bars.add_task(title, total=None, note="")

            def report(progress: Progress) -> None:
                note = f"{progress.stage} {_shortened(progress.task)}"
                bars.update(task, completed=progress.done, total=progress.total, note=note)

            yield report


def _shortened(name: str) -> str:
    """A metadata file has a name of forty characters, which would leave no room for the bar."""
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 3]}..."
