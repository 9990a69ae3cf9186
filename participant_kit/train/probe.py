"""The first steps of a recipe on a run that is thrown away: how fast they are, and whether they fit the machine."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from competition.errors import DivergedError, TrainingError
from competition.progress import Progress
from participant_kit.train.loop import batches_from
from participant_kit.train.run import Run

STEPS = 20
WARM_UP = 5


@dataclass(frozen=True, slots=True)
class Probe:
    """What some real steps came to.

    Args:
        steps: that were trained.
        measured: of these, those after the warm-up, which the times are of.
        seconds_per_step: mean.
        data_wait_share: part of the time in which the model waited for data.
    """

    steps: int
    measured: int
    seconds_per_step: float
    data_wait_share: float


def probe(run: Run) -> Probe:
    """Train the first steps of a run; writes no file.

    Raises:
        DivergedError: a loss is not finite.
        TrainingError: the GPU has too little memory, or no sample can be used.
    """
    try:
        return _steps(run)
    except torch.OutOfMemoryError as error:
        total = torch.cuda.get_device_properties(run.group.device).total_memory // 2**20
        raise TrainingError(
            f"A step of {run.recipe.global_batch // run.group.world:,} samples a process does not fit the GPU's "
            f"{total:,} MiB of memory.",
            hint="Add --save-memory, or start more processes on more GPUs: each then takes less of the batch.",
        ) from error


def _steps(run: Run) -> Probe:
    count = min(STEPS, run.steps)
    first = min(WARM_UP, count // 2)
    device, losses = run.group.device, []
    started, waited = time.monotonic(), 0.0
    source = batches_from(run, 0, count)
    for done in range(count):
        if done == first:
            _settle(device)
            started, waited = time.monotonic(), 0.0
        asked = time.monotonic()
        batch = next(source)
        waited += time.monotonic() - asked
        losses.append(run.group.mean(run.trainer.step(batch.step, batch.inputs)))
        run.progress(Progress("probing", done + 1, count))
    _settle(device)
    seconds = time.monotonic() - started
    for step, loss in enumerate(map(float, losses), 1):
        if not math.isfinite(loss):
            raise DivergedError(
                f"The loss is {loss} at step {step} of the probe: training would diverge.",
                hint="Check the data for constant images or captions, or train with another --seed.",
            )
    return Probe(count, count - first, seconds / (count - first), waited / seconds)


def _settle(device: torch.device) -> None:
    """Wait for what the GPU was told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
