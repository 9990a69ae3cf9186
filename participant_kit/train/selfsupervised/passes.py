"""Passes over the data: what schedules are counted in."""

from __future__ import annotations

import math
from dataclasses import dataclass

from competition.rules.recipes import SelfSupervisedRecipe
from competition.rules.recipes.common import epochs_of
from participant_kit.train.data.source import TrainingSet

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Passes:
    """A run's steps as passes over its data.

    Args:
        batch: samples of a step, over all processes.
        samples: of the data.
        steps: of the run.
        epochs: length of the run; a fraction where the budget is a number of samples.
    """

    batch: int
    samples: int
    steps: int
    epochs: float

    @classmethod
    def of(cls, recipe: SelfSupervisedRecipe, data: TrainingSet) -> Passes:
        """Those of a recipe on these data."""
        steps, budget = recipe.steps_on(data.sizes), recipe.budget
        if budget.kind == "samples":
            epochs = steps * recipe.global_batch / len(data)
        else:
            epochs = float(epochs_of(budget, data.sizes))
        return cls(recipe.global_batch, len(data), steps, epochs)

    def position(self, step: int) -> float:
        """Passes that are behind a step, counted from 0."""
        return step * self.batch / self.samples

    def epoch(self, step: int) -> int:
        """The pass that a step begins in, counted from 0."""
        return step * self.batch // self.samples

    def share(self, share: float) -> int:
        """Whole passes in a share of the run, rounded down."""
        return math.floor(share * self.epochs + _ROUNDING)
