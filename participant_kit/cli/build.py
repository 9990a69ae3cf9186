"""``datacup build``: run a pipeline to a dataset and the record of how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from competition.data.engine import Workers
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import spread

if TYPE_CHECKING:
    from participant_kit.pipelines.load import Pipeline
    from participant_kit.pipelines.run import Built, Terminal


@spread
def command(
    file: Annotated[Path, typer.Argument(metavar="PIPELINE.yaml", help="The steps; see docs/pipelines.md.")],
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Where dataset.npy, dataset.json and the stages go.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say which steps would be made, and which are there already.")
    ] = False,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Run a pipeline of steps to one dataset.

    A killed run goes on where it stopped. After a change only the steps that depend on it are made again. dataset.json
    says how every step went; `datacup submit --lineage` makes it part of an entry.
    """
    from participant_kit.pipelines.load import load_pipeline
    from participant_kit.pipelines.run import Terminal, build

    console = Console(as_json=as_json)
    pipeline = load_pipeline(file)
    terminal = Terminal(console.progress, console.note)
    if dry_run:
        _foresee(console, pipeline, output_dir, workers, terminal)
        return
    _show(console, pipeline, build(pipeline, output_dir, workers, terminal))


def _foresee(console: Console, pipeline: Pipeline, output_dir: Path, workers: Workers, terminal: Terminal) -> None:
    from participant_kit.pipelines.run import foresee

    needed = foresee(pipeline, output_dir, workers, terminal)
    steps = [
        {"name": step.name, "operation": step.operation.name, "inputs": list(step.inputs), "make": needed[step.name]}
        for step in pipeline.steps
    ]
    rows = [
        [step.name, step.operation.name, ", ".join(step.inputs) or "pool", "make" if needed[step.name] else "unchanged"]
        for step in pipeline.steps
    ]
    console.table({"steps": steps}, "", ["step", "operation", "from", "state"], rows)


def _show(console: Console, pipeline: Pipeline, built: Built) -> None:
    lineage = built.lineage
    rows = [
        [step.name, step.operation, f"{step.total:,}", f"{step.kept:,}", built.states[step.name]]
        for step in lineage.steps
    ]
    payload: dict[str, Any] = {
        "subset": str(built.subset),
        "lineage": str(built.lineage_path),
        "made": [name for name, state in built.states.items() if state == "made"],
        **lineage.model_dump(mode="json"),
    }
    console.table(payload, "", ["step", "operation", "rows read", "kept", "state"], rows)
    console.note(f"Dataset: {built.subset}; how it was made: {built.lineage_path}")
    shards = pipeline.pool / "shards"
    console.next_step(f"datacup reshard -i {shards} -o shards/{built.subset.parent.name} -s {built.subset}")
