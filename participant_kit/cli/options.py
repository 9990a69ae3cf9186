"""Options that several commands share, so that they are named and explained alike everywhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from competition.data.engine import LocalEngine, Workers
from competition.errors import UsageError

CompetitionOption = Annotated[
    str, typer.Option("--competition", help="A built-in competition, or the path of a competition's YAML file.")
]
ScaleOption = Annotated[
    str, typer.Option("--scale", help="Scale of the competition; of digits: nano, or micro, four times as large.")
]
TrackOption = Annotated[str, typer.Option("--track", help="Track of the competition, for example filtering.")]
WorkersOption = Annotated[int, typer.Option("-j", "--num-workers", min=1, help="Processes on this machine.")]
RunOption = Annotated[
    Path | None,
    typer.Option("--train-output-dir", help="The run's folder: <output-dir>/<exp-name> of `datacup train`."),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Of initial weights, order and crops; recorded with the result.")
]
MetadataDirOption = Annotated[Path, typer.Option("--metadata-dir", help="The pool's metadata folder.")]
FeatureArrayOption = Annotated[
    str | None, typer.Option("--features", help="Array of the .npz files; default: features, or the only one.")
]
SavePathOption = Annotated[Path, typer.Option("--save-path", help="Where the subset goes: an .npy file.")]


class EngineName(StrEnum):
    """What runs the tasks of a command."""

    LOCAL = "local"
    RAY = "ray"


TasksOption = Annotated[
    int | None,
    typer.Option(
        "-j", "--num-workers", min=1, help="Tasks at a time; default: 2 on this machine, all that fit on a Ray cluster."
    ),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        help="local: this machine. ray: a Ray cluster; all nodes have DataCup, and the same files at the same paths.",
    ),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="HOST:PORT of the cluster's head; local starts a cluster on this machine for this command; "
        "default: RAY_ADDRESS, else the cluster that runs on this machine.",
    ),
]
TaskLogOption = Annotated[
    Path | None,
    typer.Option("--task-log", help="Add a JSON line for every task to this file: stage, task, host, seconds, error."),
]


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """A command that may run on a cluster: for its parameter ``workers`` there are ``--num-workers``, ``--engine``,
    ``--ray-address`` and ``--task-log``."""

    @wraps(command)
    def run(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in ("num_workers", "engine", "ray_address", "task_log")}
        with _workers(**chosen) as workers:
            command(**given, workers=workers)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        parameters += _OPTIONS if parameter.name == "workers" else [parameter]
    signature = inspect.signature(command).replace(parameters=parameters)
    # Typer reads both, as it does those of any command.
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


_OPTIONS = (
    _option("num_workers", TasksOption, None),
    _option("engine", EngineOption, EngineName.LOCAL),
    _option("ray_address", RayAddressOption, None),
    _option("task_log", TaskLogOption, None),
)


@contextmanager
def _workers(
    num_workers: int | None, engine: EngineName, ray_address: str | None, task_log: Path | None
) -> Iterator[Workers]:
    """What the options mean; a cluster is left at the end."""
    if engine is EngineName.LOCAL:
        if ray_address is not None:
            raise UsageError("--ray-address is given without --engine ray.", hint="Add --engine ray, or leave it away.")
        yield LocalEngine(num_workers or 2, log=task_log)
        return
    from competition.data.ray_engine import RayEngine

    with RayEngine(ray_address, num_workers, log=task_log) as on_cluster:
        yield on_cluster
