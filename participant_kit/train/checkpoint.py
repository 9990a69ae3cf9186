"""Checkpoints of a run: weights, optimiser state and position. Whole or absent, the newest two are kept.

``checkpoints/step-00000047/`` holds ``model.safetensors``, ``optimizer.safetensors`` and ``state.json``. The folder
appears under its name in one rename, after its files have reached the disk.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from competition.data.atomic import PARTIAL_SUFFIX, make_folder, storage_errors, write_bytes
from competition.errors import TrainingError
from participant_kit.train.clip import ClipTrainer

KEPT = 2


class RunState(BaseModel):
    """Where a run is, and what it is a run of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe_digest: str
    data_digest: str
    seed: int
    steps_done: int
    seconds: float
    started_at: AwareDatetime


def save_model(path: Path, trainer: ClipTrainer) -> None:
    """Write the weights; equal weights give equal bytes (raises ``StorageError``)."""
    write_bytes(path, save({name: tensor.contiguous() for name, tensor in trainer.model.state_dict().items()}))


def save_checkpoint(folder: Path, trainer: ClipTrainer, state: RunState) -> None:
    """Add a checkpoint to ``folder`` and remove all but the newest.

    Raises:
        StorageError: there is no room; earlier checkpoints are untouched.
    """
    final = folder / f"step-{state.steps_done:08d}"
    partial = folder / f".{final.name}{PARTIAL_SUFFIX}"
    make_folder(folder)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        make_folder(partial)
        save_model(partial / "model.safetensors", trainer)
        write_bytes(partial / "optimizer.safetensors", save(_optimizer_tensors(trainer)))
        write_bytes(partial / "state.json", state.model_dump_json().encode())
        with storage_errors("writing", final):
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            _sync(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    for old in _checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def newest_checkpoint(folder: Path) -> tuple[Path, RunState] | None:
    """The newest checkpoint and its state, if there is one.

    Raises:
        TrainingError: its state cannot be read.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    try:
        return found[-1], RunState.model_validate_json((found[-1] / "state.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise _damaged(found[-1]) from error


def restore(checkpoint: Path, trainer: ClipTrainer) -> None:
    """Put the saved weights and optimiser state into ``trainer``.

    Raises:
        TrainingError: the files cannot be read or do not fit the recipe.
    """
    try:
        trainer.model.load_state_dict(load_file(checkpoint / "model.safetensors"))
        tensors = load_file(checkpoint / "optimizer.safetensors")
        described = trainer.optimizer.state_dict()
        described["state"] = {
            position: {key: tensors[f"{name}:{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
            for position, name in enumerate(_parameter_names(trainer))
        }
        trainer.optimizer.load_state_dict(described)
    except (OSError, SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise _damaged(checkpoint) from error


def _optimizer_tensors(trainer: ClipTrainer) -> dict[str, torch.Tensor]:
    names = _parameter_names(trainer)
    return {
        f"{names[position]}:{key}": tensor.contiguous()
        for position, state in trainer.optimizer.state_dict()["state"].items()
        for key, tensor in state.items()
    }


def _parameter_names(trainer: ClipTrainer) -> list[str]:
    """Names of the parameters in the optimiser's order."""
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    return [names[id(parameter)] for group in trainer.optimizer.param_groups for parameter in group["params"]]


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def _damaged(checkpoint: Path) -> TrainingError:
    return TrainingError(
        f"The checkpoint {checkpoint} cannot be read.",
        hint="Delete this folder and run the same command again: training goes on from the checkpoint before it.",
    )


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
