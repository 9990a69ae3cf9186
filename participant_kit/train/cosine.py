"""Cosine schedules of image-model recipes in closed form: the rate of any step, without those before it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from competition.rules.recipes.optimizers import Cosine


@dataclass(frozen=True, slots=True)
class CosineRate:
    """Rates equal to those of timm's ``CosineLRScheduler`` (one cycle), stepped by epochs or by updates.

    Warm-up replaces the beginning of the cosine; it is not put before it (``warmup_prefix`` off, as in timm's script).

    Args:
        schedule: of the recipe.
        peak: the optimiser's learning rate.
        batch: samples of a step.
        samples: of the data, which are one epoch.
        epochs: length of the whole schedule.
    """

    schedule: Cosine
    peak: float
    batch: int
    samples: int
    epochs: float

    def __call__(self, step: int) -> float:
        """The rate of a step, counted from 0; its epoch is floor(step * batch / samples)."""
        schedule, seen = self.schedule, step * self.batch
        passed = seen // self.samples if schedule.every == "epoch" else seen / self.samples
        time = passed + schedule.first_epoch
        if time < schedule.warmup_epochs:
            slope = (self.peak - schedule.warmup_start) / schedule.warmup_epochs
            return schedule.warmup_start + time * slope
        if time >= self.epochs:
            return schedule.final
        return schedule.final + 0.5 * (self.peak - schedule.final) * (1 + math.cos(math.pi * time / self.epochs))
