"""A task on a node of a cluster: it runs only where the files are those of the machine that started it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import competition
from competition.data.outcome import HOST, Answer, answer
from competition.errors import EngineError, StorageError

_PATIENCE_SECONDS = 5.0
"""How long a path may be absent on a node: network file systems show new files late."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a run was started.

    Args:
        folder: relative paths mean those of this folder.
        version: of DataCup; results of different versions must not be mixed.
        paths: what every node must see: inputs, output folders, the journal.
    """

    folder: Path
    version: str
    paths: tuple[Path, ...]

    @classmethod
    def here(cls, paths: tuple[Path, ...]) -> Origin:
        """This process."""
        return cls(Path.cwd(), competition.__version__, paths)


def existing_paths(value: Any) -> Iterator[Path]:
    """Paths inside a task or a function's bound arguments that exist on this machine."""
    if isinstance(value, Path):
        if value.exists():
            yield value
    elif isinstance(value, partial):
        yield from existing_paths((value.args, value.keywords))
    elif isinstance(value, dict):
        yield from existing_paths(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from existing_paths(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from existing_paths(getattr(value, field.name))


def run_on_node(function: Callable[[Any], Any], task: Any, paths: tuple[Path, ...], origin: Origin) -> Answer:
    """Runs in a cluster's worker: what ``function`` answers, or why this node cannot be asked."""
    return answer(partial(_checked, function, paths, origin), task)


def _checked(function: Callable[[Any], Any], paths: tuple[Path, ...], origin: Origin, task: Any) -> Any:
    if competition.__version__ != origin.version:
        raise EngineError(
            f"Node {HOST} has DataCup {competition.__version__}, and this run is of {origin.version}.",
            hint="Install the same version on every node.",
        )
    for path in (origin.folder, *origin.paths, *paths):
        _await(origin.folder / path)
    os.chdir(origin.folder)
    return function(task)


def _await(path: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise StorageError(
                f"Node {HOST} does not see {path}.",
                hint="Every node needs the same files under the same paths: put them on storage that all nodes share.",
            )
        time.sleep(0.1)
