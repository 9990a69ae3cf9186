"""What these commands show through: the kit's console, or plain lines where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import typer

from competition.printable import printable
from competition.progress import ProgressHook, progress_lines


class Output(Protocol):
    """Results on stdout (a table, or JSON), notes and progress on stderr."""

    def note(self, text: str) -> None:
        """Say something to the person at the terminal."""

    def table(self, payload: object, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The result of a command: ``payload`` as JSON, or a table."""

    def progress(self, title: str) -> AbstractContextManager[ProgressHook]:
        """Show how far it is; yields the hook that is told."""


class PlainOutput:
    """Aligned columns, and a line of progress now and then: for services and their logs."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def note(self, text: str) -> None:
        """See ``Output``."""
        typer.echo(text, err=True)

    def table(self, payload: object, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """See ``Output``."""
        if self._as_json:
            typer.echo(json.dumps(payload, indent=2, ensure_ascii=False))
            return
        if title:
            typer.echo(title)
        lines = [list(columns), *([printable(cell) for cell in row] for row in rows)]
        widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
        for line in lines:
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

    @contextmanager
    def progress(self, title: str) -> Iterator[ProgressHook]:
        """See ``Output``."""
        self.note(f"{title} ...")
        yield progress_lines(self.note)
