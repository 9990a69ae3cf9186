"""Self-supervised pretraining (SimCore's recipes): a method, a backbone and two or more views of every image."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from competition.rules.base import Probability, Rule
from competition.rules.inconsistency import wrong
from competition.rules.recipes.common import Backbone, BaseRecipe, Budget, epochs_of
from competition.rules.recipes.optimizers import Cosine, ImageOptimizer
from competition.rules.recipes.supervised import Rgb


class Momentum(Rule):
    """Weight of the old teacher when the student's weights are averaged into it, after every step.

    It rises from ``start`` to ``end`` along half a cosine; ``every`` says whether it changes with each step or stands
    still within an epoch (``start`` in the first).
    """

    start: Probability
    end: Probability = 1.0
    every: Literal["step", "epoch"] = "step"


class SimClr(Rule):
    """NT-Xent over all views of the global batch; a projection of two layers without batch normalisation."""

    method: Literal["simclr"]
    hidden: int = Field(default=2048, gt=0)
    output: int = Field(default=128, gt=0)
    temperature: float = Field(default=0.07, gt=0)


class Moco(Rule):
    """A momentum encoder and a queue of negatives; the projection is one linear layer."""

    method: Literal["moco"]
    output: int = Field(default=128, gt=0)
    queue: int = Field(default=1024, gt=0)
    momentum: Momentum = Momentum(start=0.999, end=0.999)
    temperature: float = Field(default=1.0, gt=0)


class Byol(Rule):
    """Predict the momentum encoder's projection of the other view; symmetric 2 - 2 cos."""

    method: Literal["byol"]
    hidden: int = Field(default=4096, gt=0)
    output: int = Field(default=256, gt=0)
    momentum: Momentum = Momentum(start=0.996)


class SimSiam(Rule):
    """BYOL whose target is the encoder itself without gradient."""

    method: Literal["simsiam"]
    hidden: int = Field(default=4096, gt=0)
    output: int = Field(default=256, gt=0)


class Swav(Rule):
    """Swapped prediction of cluster assignments made by Sinkhorn iterations."""

    method: Literal["swav"]
    hidden: int = Field(default=4096, gt=0)
    output: int = Field(default=2048, gt=0)
    prototypes: int = Field(default=100, gt=0)
    temperature: float = Field(default=0.1, gt=0)
    epsilon: float = Field(default=0.02, gt=0)
    sinkhorn_iterations: int = Field(default=3, gt=0)
    freeze_prototypes: Probability = Field(default=10 / 5000, description="share of the epochs (at least one epoch)")


class Dino(Rule):
    """Self-distillation: a momentum teacher whose centred, sharpened output the student matches."""

    method: Literal["dino"]
    hidden: int = Field(default=2048, gt=0)
    bottleneck: int = Field(default=256, gt=0)
    output: int = Field(default=65536, gt=0)
    student_temperature: float = Field(default=0.1, gt=0)
    teacher_temperature_start: float = Field(default=0.04, gt=0)
    teacher_temperature: float = Field(default=0.07, gt=0)
    teacher_temperature_warmup: Probability = Field(default=2000 / 5000, description="share of the epochs")
    center_momentum: Probability = 0.9
    momentum: Momentum = Momentum(start=0.996)
    drop_path: Probability = 0.1
    freeze_last_layer: Probability = Field(default=10 / 5000, description="share of the epochs (at least one epoch)")


class Mae(Rule):
    """Reconstruct the pixels of masked patches."""

    method: Literal["mae"]
    mask_ratio: Probability = 0.75
    decoder_width: int = Field(default=512, gt=0)
    decoder_depth: int = Field(default=8, gt=0)
    decoder_heads: int = Field(default=16, gt=0)
    normalise_pixels: bool = False


Method = Annotated[SimClr | Moco | Byol | SimSiam | Swav | Dino | Mae, Field(discriminator="method")]


class ColorJitter(Rule):
    """torchvision's colour jitter, applied to a view with ``probability``."""

    brightness: float = Field(ge=0)
    contrast: float = Field(ge=0)
    saturation: float = Field(ge=0)
    hue: float = Field(ge=0, le=0.5)
    probability: Probability


class Views(Rule):
    """How many views of an image there are, and how each is made: crop, flip, jitter, grey."""

    count: int = Field(default=2, ge=1, le=8, description="views of the full image size")
    scale: tuple[Probability, Probability] = (0.2, 1.0)
    local_count: int = Field(default=0, ge=0, le=32, description="further, smaller views (SwAV, DINO)")
    local_size: int = Field(default=96, ge=8)
    local_scale: tuple[Probability, Probability] = (0.05, 0.2)
    horizontal_flip: Probability = 0.5
    jitter: ColorJitter | None = ColorJitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, probability=0.8)
    grayscale: Probability = 0.2
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: Rgb = (0.485, 0.456, 0.406)
    std: Rgb = (0.229, 0.224, 0.225)


class SelfSupervisedRecipe(BaseRecipe):
    """A training without labels that is identical for everybody."""

    kind: Literal["selfsupervised"]
    backbone: Backbone
    image_size: int = Field(ge=8, le=4096)
    method: Method
    views: Views = Views()
    budget: Budget
    optimizer: ImageOptimizer
    schedule: Cosine = Cosine()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        method, views = self.method, self.views
        if isinstance(method, Moco) and method.queue % self.global_batch:
            raise wrong(f"{method.queue} is no multiple of the global batch of {self.global_batch}", "method", "queue")
        if isinstance(method, Mae):
            if views.count != 1:
                raise wrong(f"a masked autoencoder sees one view of an image, not {views.count}", "views", "count")
        elif isinstance(method, Swav | Dino):
            if views.count < 2:
                raise wrong(f"{method.method} compares two views of an image or more", "views", "count")
        elif views.count != 2:
            raise wrong(f"{method.method} compares two views of an image, not {views.count}", "views", "count")
        if views.local_count and not isinstance(method, Swav | Dino):
            raise wrong(f"{method.method} sees no local views", "views", "local_count")
        for name, (smallest, largest) in (("scale", views.scale), ("local_scale", views.local_scale)):
            if not 0 < smallest <= largest:
                raise wrong("must be two shares of the image, above 0, the smaller one first", "views", name)
        return self

    def steps_on(self, source_samples: tuple[int, ...]) -> int:
        """Optimiser steps on data whose sources have so many samples: floor(samples seen / global batch)."""
        if self.budget.kind == "samples":
            return self.budget.samples // self.global_batch
        return epochs_of(self.budget, source_samples) * sum(source_samples) // self.global_batch
