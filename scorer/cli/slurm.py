"""``datacup-scorer slurm``: print the script with which SLURM runs scorers."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from competition.data.atomic import write_bytes
from scorer import slurm
from scorer.settings import ScorerSettings

# What may stand in a script that others can read: an allow-list, because no list of secrets is ever complete.
_SETTINGS = (
    "MIRROR", "POOLS", "EVALUATION", "READABLE", "COMPETITIONS", "HUBS", "POLL_SECONDS", "HEARTBEAT_SECONDS",
    "INTAKE_SECONDS", "TASK_SECONDS", "START_SECONDS", "MEMORY_BYTES", "SCRATCH_BYTES", "FREE_BYTES", "MAX_TASKS",
    "LOG_LEVEL",
)  # fmt: skip


def command(
    token_file: Annotated[
        Path, typer.Option("--token-file", help="File with the token of scope score, of mode 600.", show_default=False)
    ],
    workers: Annotated[int, typer.Option("--workers", min=1, max=1000, help="How many scorers.")] = 4,
    gpus: Annotated[int, typer.Option("--gpus", min=0, max=1, help="GPUs of each scorer.")] = 1,
    cpus: Annotated[int, typer.Option("--cpus", min=1, max=1024, help="Processor cores of each scorer.")] = 6,
    time: Annotated[str, typer.Option("--time", help="Time limit of each scorer, as SLURM writes it.")] = "04:00:00",
    memory: Annotated[str, typer.Option("--mem", help="Memory of each scorer, as SLURM writes it.")] = "",
    partition: Annotated[str, typer.Option("--partition", help="SLURM's partition.")] = "",
    logs: Annotated[Path, typer.Option("--logs", help="Folder of the logs, one a scorer.")] = Path(),
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the script to this file instead of printing it.")
    ] = None,
) -> None:
    """Print a script for sbatch: an array of scorers that drain the leaderboard's queue, one GPU each.

    Leaderboard and folders are those of the environment of this command (DATACUP_ENDPOINT, DATACUP_MIRROR, ...), which
    must be the same on all nodes. The token is read from --token-file when a scorer starts; it is not in the script.
    """
    settings = ScorerSettings.read()
    array = slurm.Array(workers, gpus, cpus, time, memory, partition, logs.absolute())
    text = slurm.script(array, token_file.expanduser().absolute(), _environment(settings), _command())
    if output is None:
        typer.echo(text, nl=False)
        return
    write_bytes(output, text.encode())
    typer.echo(f"Written. Submit it with: sbatch {output}", err=True)


def _environment(settings: ScorerSettings) -> dict[str, str]:
    """The leaderboard, the folders, and whatever else was chosen: nodes start without this environment."""
    chosen = {f"DATACUP_{name}": os.environ[f"DATACUP_{name}"] for name in _SETTINGS if f"DATACUP_{name}" in os.environ}
    return chosen | {
        "DATACUP_ENDPOINT": settings.require_endpoint(),
        "DATACUP_MIRROR": str(settings.mirror_root),
        "DATACUP_POOLS": str(settings.pools_root),
        "DATACUP_EVALUATION": str(settings.evaluation_root),
        "HF_ENDPOINT": settings.hub_endpoint,
    }


def _command() -> list[str]:
    installed = shutil.which("datacup-scorer")
    return [installed] if installed else [sys.executable, "-m", "scorer.cli"]
