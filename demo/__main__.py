"""``python -m demo`` runs the whole competition; ``python -m demo serve`` shows the site of the last one."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from competition import command_line
from demo import story
from demo.services import isolate

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
FolderOption = Annotated[Path, typer.Option("--output-dir", help="Where the demo keeps its files.")]


@app.callback(invoke_without_command=True)
def main(context: typer.Context, output_dir: FolderOption = Path("build/demo")) -> None:
    """A whole competition on this machine: pool, three strategies, training, upload, verified scoring, standings."""
    isolate()
    if context.invoked_subcommand is None:
        story.run(output_dir.resolve())


@app.command()
def serve(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the site.")] = 8000,
    output_dir: FolderOption = Path("build/demo"),
) -> None:
    """Show the site of the finished demo."""
    story.serve(output_dir.resolve(), port)


def _end(_signal: int, _frame: object) -> None:
    """An asked-for end stops the demo's processes too; the default action would leave them behind."""
    raise SystemExit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    command_line.run(app, extra="kit")
