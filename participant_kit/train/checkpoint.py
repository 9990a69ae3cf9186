"""Checkpoints of a run: weights, optimiser state and position. Whole or absent, the newest two are kept.

``checkpoints/step-00000047/`` holds ``objective.safetensors``, ``optimizer.safetensors`` and ``state.json``. The folder
appears under its name in one rename, after its files have reached the disk.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from competition.data.atomic import PARTIAL_SUFFIX, make_folder, storage_errors, write_bytes
from competition.errors import TrainingError
from participant_kit.train.trainer import Trainer

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
    corrupt: tuple[int, ...] = ()
    scaler: dict[str, float] = {}


def save_model(path: Path, trainer: Trainer) -> None:
    """Write the weights; equal weights give equal bytes (raises ``StorageError``)."""
    write_bytes(path, save(_own(trainer.objective.model().state_dict())))


def saved_bytes(trainer: Trainer) -> tuple[int, int]:
    """Bytes of a checkpoint and of the model, but for their headers; the optimiser's exist after its first step."""
    weights, optimizer = trainer.objective.state_dict(), _optimizer_tensors(trainer)
    return _bytes(weights) + _bytes(optimizer), _bytes(trainer.objective.model().state_dict())


def _bytes(tensors: Mapping[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def _own(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that share no memory, as safetensors wants them."""
    return {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}


def save_checkpoint(folder: Path, trainer: Trainer, state: RunState) -> None:
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
        write_bytes(partial / "objective.safetensors", save(_own(trainer.objective.state_dict())))
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


def restore(checkpoint: Path, trainer: Trainer, state: RunState) -> None:
    """Put the saved weights and optimiser state into ``trainer``.

    Raises:
        TrainingError: the files cannot be read or do not fit the recipe.
    """
    try:
        trainer.objective.load_state_dict(load_file(checkpoint / "objective.safetensors"))
        places = {name: place for place, name in enumerate(_parameter_names(trainer))}
        parameters = dict(trainer.objective.named_parameters())
        described = trainer.optimizer.state_dict()
        described["state"] = {}
        for name, tensor in load_file(checkpoint / "optimizer.safetensors").items():
            parameter, _, key = name.rpartition(":")
            # In the parameter's memory layout: fused updates expect it, and other loops round differently.
            like = parameters[parameter]
            laid_out = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
            described["state"].setdefault(places[parameter], {})[key] = laid_out.detach()
        trainer.optimizer.load_state_dict(described)
        if state.scaler:
            trainer.scaler.load_state_dict(dict(state.scaler))
    except (OSError, SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise _damaged(checkpoint) from error


def _optimizer_tensors(trainer: Trainer) -> dict[str, torch.Tensor]:
    names = _parameter_names(trainer)
    return {
        f"{names[position]}:{key}": tensor.contiguous().clone()
        for position, state in trainer.optimizer.state_dict()["state"].items()
        for key, tensor in state.items()
        if tensor is not None
    }


def _parameter_names(trainer: Trainer) -> list[str]:
    """Names of the parameters in the optimiser's order."""
    names = {id(parameter): name for name, parameter in trainer.objective.named_parameters()}
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
