"""Where a training curve can be followed live, beside the log: TensorBoard and Weights & Biases, where wished."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


class TrackerName(StrEnum):
    """What can follow a run."""

    TENSORBOARD = "tensorboard"
    WANDB = "wandb"


class Tracker(Protocol):
    """Takes the lines of the training log."""

    def log(self, line: dict[str, Any]) -> None:
        """One line of ``train_log.jsonl``."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def open_trackers(names: Sequence[TrackerName], folder: Path, config: dict[str, Any], name: str) -> tuple[Tracker, ...]:
    """The wished trackers of a run in ``folder``; a resumed run goes on with its curves.

    Raises:
        ModuleNotFoundError: a tracker's package is not installed (extra ``tracking``).
    """
    made: list[Tracker] = []
    if TrackerName.TENSORBOARD in names:
        made.append(_TensorBoard(folder))
    if TrackerName.WANDB in names:
        made.append(_Wandb(folder, config, name))
    return tuple(made)


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def log(self, line: dict[str, Any]) -> None:
        for key, value in line.items():
            if key != "step":
                self._writer.add_scalar(f"train/{key}", value, line["step"])

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, folder: Path, config: dict[str, Any], name: str) -> None:
        import wandb

        # The id follows from the run's name, so that a killed run goes on with its curve.
        self._run: Any = wandb.init(
            project="datacup", name=name, id=name.replace("/", "-"), resume="allow", config=config, dir=str(folder)
        )

    def log(self, line: dict[str, Any]) -> None:
        self._run.log({f"train/{key}": value for key, value in line.items()}, step=line["step"])

    def close(self) -> None:
        self._run.finish()
