"""Where a training curve can be followed live, beside the log: TensorBoard and Weights & Biases, where wished."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
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


@dataclass(frozen=True, slots=True)
class Followed:
    """The run that is followed.

    Args:
        folder: the run's.
        name: shown.
        identity: equal for a run and its continuation alone.
        steps_done: at which it goes on; 0 for a new one.
        config: shown beside the curve.
    """

    folder: Path
    name: str
    identity: str
    steps_done: int
    config: Mapping[str, Any]


def open_trackers(names: Sequence[TrackerName], run: Followed) -> tuple[Tracker, ...]:
    """The wished trackers of a run; a resumed one goes on with its curves.

    Raises:
        ModuleNotFoundError: a tracker's package is not installed (extra ``tracking``).
    """
    made: list[Tracker] = []
    if TrackerName.TENSORBOARD in names:
        made.append(_TensorBoard(run))
    if TrackerName.WANDB in names:
        made.append(_Wandb(run))
    return tuple(made)


class _TensorBoard:
    def __init__(self, run: Followed) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What a killed run wrote after its last checkpoint is purged: those steps are trained again.
        purged = run.steps_done + 1 if run.steps_done else None
        self._writer: Any = SummaryWriter(str(run.folder / "tensorboard"), purge_step=purged)

    def log(self, line: dict[str, Any]) -> None:
        for key, value in line.items():
            if key != "step":
                self._writer.add_scalar(f"train/{key}", value, line["step"])

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, run: Followed) -> None:
        import wandb

        # Another run of the same name has another id; a killed run has the same again, and goes on with its curve.
        plain = re.sub(r"[^A-Za-z0-9_-]", "-", run.name)[:64]
        self._run: Any = wandb.init(
            project="datacup",
            name=run.name,
            id=f"{plain}-{sha256(run.identity.encode()).hexdigest()[:12]}",
            resume="allow",
            config=dict(run.config),
            dir=str(run.folder),
        )

    def log(self, line: dict[str, Any]) -> None:
        self._run.log({f"train/{key}": value for key, value in line.items()}, step=line["step"])

    def close(self) -> None:
        self._run.finish()
