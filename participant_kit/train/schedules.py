"""Learning rates of image-model recipes in closed form, so that any step's rate is known without those before it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from competition.rules.recipes.common import SamplesSeen, epochs_of
from competition.rules.recipes.optimizers import AdamW, Cosine, ImageOptimizer
from competition.rules.recipes.selfsupervised import SelfSupervisedRecipe
from competition.rules.recipes.supervised import SupervisedRecipe


@dataclass(frozen=True, slots=True)
class Span:
    """How steps and passes over the data correspond.

    Args:
        steps: of the whole training.
        batch: samples of a step.
        samples: of the data.
        epochs: passes over the data; not whole where the budget is a number of samples.
    """

    steps: int
    batch: int
    samples: int
    epochs: float

    @classmethod
    def of(cls, recipe: SupervisedRecipe | SelfSupervisedRecipe, source_samples: tuple[int, ...]) -> Span:
        """That of a recipe on data whose sources have so many samples."""
        steps, samples, budget = recipe.steps_on(source_samples), sum(source_samples), recipe.budget
        if isinstance(budget, SamplesSeen):
            epochs = steps * recipe.global_batch / samples
            # A rate that stands still within an epoch ends with the last one that is begun.
            whole = recipe.schedule.every == "epoch"
            return cls(steps, recipe.global_batch, samples, max(1, math.ceil(epochs)) if whole else epochs)
        return cls(steps, recipe.global_batch, samples, epochs_of(budget, source_samples))

    def epoch(self, step: int) -> int:
        """Number of the pass over the data in which a step begins, from 0."""
        return step * self.batch // self.samples

    def passed(self, step: int, every: str) -> float:
        """Epochs that count as passed at a step: those begun and ended, or the exact share of the data seen."""
        return float(self.epoch(step)) if every == "epoch" else step * self.batch / self.samples

    def share(self, step: int, every: str) -> float:
        """The part of the training that counts as passed at a step, in [0, 1)."""
        return min(self.passed(step, every) / self.epochs, 1.0)


def cosine_rate(schedule: Cosine, peak: float, span: Span) -> Callable[[int], float]:
    """Learning rate of a step, counted from 0.

    Equal to timm's ``CosineLRScheduler`` without and (``throughout``: without its ``warmup_prefix``) with warm-up, and
    with ``first_epoch`` 1 to SimCore's ``adjust_learning_rate``.
    """
    warmup = schedule.warmup_epochs or math.floor(schedule.warmup_share * span.epochs)

    def rate(step: int) -> float:
        at = span.passed(step, schedule.every) + schedule.first_epoch
        if at < warmup:
            return schedule.warmup_start + at * ((peak - schedule.warmup_start) / warmup)
        begun = 0 if schedule.throughout else warmup
        length = span.epochs - begun
        # In the order of timm's operations, so that the last bits are the same.
        return schedule.final + 0.5 * (peak - schedule.final) * (
            1 + math.cos(math.pi * min(at - begun, length) / length)
        )

    return rate


def cosine_decay(optimizer: ImageOptimizer, schedule: Cosine, span: Span) -> Callable[[int], float] | None:
    """Weight decay of a step, counted from 0, where the optimiser's changes along half a cosine; else ``None``."""
    if not isinstance(optimizer, AdamW) or optimizer.weight_decay_end is None:
        return None
    start, end = optimizer.weight_decay, optimizer.weight_decay_end
    return lambda step: end + 0.5 * (start - end) * (1 + math.cos(math.pi * span.share(step, schedule.every)))
