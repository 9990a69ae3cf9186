"""What a step can run: the strategies and operations of the commands, under one signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from competition.data.engine import Workers
from competition.progress import ProgressHook
from participant_kit.pipelines.options import StepOptions

O = TypeVar("O", bound=StepOptions)  # noqa: E741 - the usual letter

SUBSET_NAME = "dataset.npy"
TABLE_NAME = "dataset.parquet"
RESULT_NAMES = (
    SUBSET_NAME,
    f"{SUBSET_NAME}.json",
    f"{SUBSET_NAME}.svg",
    f"{SUBSET_NAME}.groups.parquet",
    TABLE_NAME,
    f"{TABLE_NAME}.json",
    "dataset.removed.parquet",
)
"""Files that the strategies and operations leave: the subset, its record, picture and groups, a labelled table, and
the rows removed from one."""
METADATA, SHARDS = "metadata", "shards"
MANY = 256


@dataclass(frozen=True, slots=True)
class Task:
    """What one run of an operation works with.

    Args:
        pool: the pool's folder.
        inputs: subsets of the steps that it takes, in order.
        folder: where its files go, see ``RESULT_NAMES``.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told how far it is.
    """

    pool: Path
    inputs: tuple[Path, ...]
    folder: Path
    workers: Workers
    progress: ProgressHook | None

    @property
    def metadata_dir(self) -> Path:
        """Of the pool."""
        return self.pool / METADATA

    @property
    def save_path(self) -> Path:
        """Of the subset."""
        return self.folder / SUBSET_NAME

    @property
    def within(self) -> Path | None:
        """The only input, of an operation that may do without."""
        return self.inputs[0] if self.inputs else None


class Made(Protocol):
    """What the record of every strategy and operation says; see ``SubsetReport``."""

    @property
    def total(self) -> int: ...
    @property
    def kept(self) -> int: ...
    @property
    def repeats(self) -> int: ...
    @property
    def dropped(self) -> dict[str, int]: ...
    @property
    def subset_sha256(self) -> str: ...


def named_files(options: StepOptions) -> Mapping[str, Path]:
    """The files that the options name: all that most operations depend on beside pool and inputs."""
    return options.files()


@dataclass(frozen=True, slots=True)
class Operation(Generic[O]):
    """Something that makes a subset.

    Args:
        name: as the command line has it, for instance "subset clip_score".
        options: what it takes.
        run: does it; deterministic, and goes on where it was killed.
        least: how many steps it takes at least.
        most: and at most.
        reads_pool: it depends on the pool's metadata or features.
        reads_shards: with these options it reads the pool's shards.
        assets: further files and folders that its result depends on, by role.
    """

    name: str
    options: type[O]
    run: Callable[[Task, O], Made]
    least: int = 0
    most: int = 0
    reads_pool: bool = True
    reads_shards: Callable[[O], bool] = lambda _: False
    assets: Callable[[O], Mapping[str, Path]] = named_files


AnyOperation = Operation[Any]
