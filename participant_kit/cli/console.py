"""What a command shows: results on stdout (a table, or JSON with ``--json``), notes and progress on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBars
from rich.table import Table

from competition.progress import Progress, ProgressHook

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]

_NAME_WIDTH = 20


class Console:
    """The output of one command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = RichConsole(highlight=False, soft_wrap=True)
        self._notes = RichConsole(stderr=True, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Say something to the person at the terminal."""
        self._notes.print(text, markup=False)

    def next_step(self, command: str) -> None:
        """Say what to do next, to a person: a program that reads JSON knows."""
        if not self.as_json:
            self._notes.print(f"Next: {command}", markup=False)

    def pairs(self, payload: Mapping[str, Any], shown: Mapping[str, object]) -> None:
        """The result of a command: ``payload`` as JSON, or ``shown`` as two aligned columns."""
        if self.as_json:
            self._json(payload)
            return
        width = max(map(len, shown))
        for name, value in shown.items():
            self._out.print(f"{name:<{width}}  {value}", markup=False)

    def table(self, payload: object, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The result of a command: ``payload`` as JSON, or a table."""
        if self.as_json:
            self._json(payload)
            return
        table = Table(title=title or None, title_justify="left", header_style="bold")
        for position, column in enumerate(columns):
            table.add_column(column, justify="left" if position < 1 else "right", overflow="fold")
        for row in rows:
            table.add_row(*(_plain(cell) for cell in row))
        RichConsole(highlight=False, markup=False, width=None if self._out.is_terminal else 160).print(table)

    def _json(self, payload: object) -> None:
        self._out.print_json(data=payload, indent=2)

    @contextmanager
    def progress(self, title: str) -> Iterator[ProgressHook]:
        """A progress bar on stderr (one line when stderr is no terminal); yields the hook that moves it."""
        if not self._notes.is_terminal:
            self.note(f"{title} ...")
            yield lambda _progress: None
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with ProgressBars(*columns, console=self._notes, transient=True) as bars:
            task = bars.add_task(title, total=None, note="")

            def report(progress: Progress) -> None:
                note = f"{progress.stage} {_shortened(progress.task)}"
                bars.update(task, completed=progress.done, total=progress.total, note=note)

            yield report


def _shortened(name: str) -> str:
    """A metadata file has a name of forty characters, which would leave no room for the bar."""
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 3]}..."


def _plain(cell: str) -> str:
    """Terminal control characters of a stranger's text are shown, not obeyed."""
    return "".join(character if character.isprintable() else "�" for character in cell)
