"""Supervised classification as timm trains it (SELECT's recipe)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from competition.rules.base import Probability, Rule
from competition.rules.recipes.common import Backbone, BaseRecipe, Budget, epochs_of
from competition.rules.recipes.optimizers import Cosine, ImageOptimizer

Rgb = tuple[float, float, float]


class TimmAugmentation(Rule):
    """Arguments of ``timm.data.create_transform`` for training."""

    scale: tuple[Probability, Probability] = (0.08, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)
    horizontal_flip: Probability = 0.5
    color_jitter: float = Field(default=0.4, ge=0)
    interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic"
    mean: Rgb = (0.485, 0.456, 0.406)
    std: Rgb = (0.229, 0.224, 0.225)


class Mixing(Rule):
    """Arguments of ``timm.data.Mixup``, which mixes the images of a batch with those of the batch reversed."""

    mixup_alpha: float = Field(default=0.0, ge=0)
    cutmix_alpha: float = Field(default=0.0, ge=0)
    probability: Probability = 1.0
    switch_probability: Probability = 0.5


class SupervisedRecipe(BaseRecipe):
    """A training with labels that is identical for everybody."""

    kind: Literal["supervised"]
    backbone: Backbone
    classes: int = Field(gt=1, le=1_000_000)
    image_size: int = Field(ge=8, le=4096)
    budget: Budget
    optimizer: ImageOptimizer
    schedule: Cosine = Cosine()
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    augmentation: TimmAugmentation = TimmAugmentation()
    mixing: Mixing | None = None
    evaluation_crop: float = Field(default=0.95, gt=0, le=1, description="centre crop as a share of the resized image")

    def steps_on(self, source_samples: tuple[int, ...]) -> int:
        """Optimiser steps on data whose sources have so many samples: floor(samples seen / global batch)."""
        if self.budget.kind == "samples":
            return self.budget.samples // self.global_batch
        return epochs_of(self.budget, source_samples) * sum(source_samples) // self.global_batch
