"""What ``datacup train --check`` finds; times and memory are of this machine, as busy as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import torch
from pydantic import AwareDatetime, BaseModel, ConfigDict

from competition.rules.recipes import ClipRecipe, Recipe
from competition.rules.recipes.clip import ShardsWithReplacement
from participant_kit.train.data.source import TrainingSet
from participant_kit.train.distributed import Group
from participant_kit.train.probe import Probe
from participant_kit.train.spot_check import SpotCheck


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True)


class DataFound(_Section):
    """The data, and a draw of their samples.

    ``copies_kept_apart``: no batch has two copies of one uid. ``corrupt_named``: the first of the draw.
    """

    samples: int
    source_samples: tuple[int, ...]
    parts: int
    digest: str
    distinct_uids: int
    copies_kept_apart: bool
    drawn: int
    corrupt: int
    corrupt_named: tuple[str, ...]
    corrupt_tolerance: float

    @classmethod
    def of(cls, data: TrainingSet, recipe: Recipe, spot: SpotCheck, *, apart: bool) -> DataFound:
        """From the data, and whether the kind of recipe keeps copies apart."""
        distinct = len(np.unique(data.identities))
        replaced = isinstance(recipe, ClipRecipe) and isinstance(recipe.order, ShardsWithReplacement)
        return cls(
            samples=len(data),
            source_samples=data.sizes,
            parts=len(data.parts),
            digest=data.digest,
            distinct_uids=distinct,
            copies_kept_apart=distinct == len(data) or (apart and not replaced and distinct >= recipe.global_batch),
            drawn=spot.drawn,
            corrupt=spot.corrupt,
            corrupt_named=spot.named,
            corrupt_tolerance=recipe.corrupt_tolerance,
        )


class DiskFound(_Section):
    """Bytes of a checkpoint and of the model, those that the run may still write, and those that are free."""

    checkpoint_bytes: int
    model_bytes: int
    wanted_bytes: int
    free_bytes: int


class MemoryFound(_Section):
    """The largest of all processes, in MiB; on a CPU there is no GPU memory."""

    peak_mib: int
    peak_gpu_mib: int | None
    gpu_mib: int | None

    @classmethod
    def of(cls, peaks: tuple[int, int], group: Group) -> MemoryFound:
        """From the peaks, in all and on the GPU."""
        if group.device.type != "cuda":
            return cls(peak_mib=peaks[0], peak_gpu_mib=None, gpu_mib=None)
        total = torch.cuda.get_device_properties(group.device).total_memory // 2**20
        return cls(peak_mib=peaks[0], peak_gpu_mib=peaks[1], gpu_mib=total)


class TimeFound(_Section):
    """How long the steps took that came after the warm-up, and what follows from it for the steps that are left.

    Checkpoints are not in the estimate, nor is anything that changes during the run.
    """

    probe_steps: int
    measured_steps: int
    seconds_per_step: float
    samples_per_second: float
    data_wait_share: float
    seconds_to_start: float
    estimated_seconds: float
    estimated_finish: AwareDatetime
    estimated_gpu_hours: float

    @classmethod
    def of(cls, probe: Probe, seconds_to_start: float, left: int, batch: int, group: Group) -> TimeFound:
        """From the probe; ``left`` steps remain."""
        seconds = seconds_to_start + probe.seconds_per_step * left if left else 0.0
        return cls(
            probe_steps=probe.steps,
            measured_steps=probe.measured,
            seconds_per_step=probe.seconds_per_step,
            samples_per_second=batch / probe.seconds_per_step,
            data_wait_share=probe.data_wait_share,
            seconds_to_start=seconds_to_start,
            estimated_seconds=seconds,
            estimated_finish=datetime.now(UTC) + timedelta(seconds=seconds),
            estimated_gpu_hours=seconds * group.world / 3600 if group.device.type == "cuda" else 0.0,
        )


class CheckReport(_Section):
    """A run that can go ahead; ``steps_done`` are those of a run of the same thing that lies there already."""

    recipe: str
    recipe_digest: str
    seed: int
    steps: int
    steps_done: int
    global_batch: int
    processes: int
    device: str
    data: DataFound
    disk: DiskFound
    memory: MemoryFound
    time: TimeFound
