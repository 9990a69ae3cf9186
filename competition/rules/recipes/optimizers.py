"""Optimisers and schedules of image-model recipes (timm's and SimCore's)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from competition.rules.base import Probability, Rule
from competition.rules.inconsistency import wrong


class Sgd(Rule):
    """SGD with Nesterov momentum. Biases and one-dimensional parameters are decayed only where ``decay_all``."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    decay_all: bool = False


class AdamW(Rule):
    """AdamW. Biases and one-dimensional parameters are decayed only where ``decay_all``.

    With ``weight_decay_end`` the decay goes from ``weight_decay`` to it along half a cosine over all epochs, and
    changes when the rate does. With ``clip`` the gradient of each parameter whose norm is above it is scaled down to
    that norm, as DINO does (not the norm of all gradients together).
    """

    kind: Literal["adamw"] = "adamw"
    learning_rate: float = Field(gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(ge=0)
    weight_decay_end: float | None = Field(default=None, ge=0)
    decay_all: bool = False
    clip: float | None = Field(default=None, gt=0)


ImageOptimizer = Annotated[Sgd | AdamW, Field(discriminator="kind")]


class Cosine(Rule):
    """Linear warm-up, then half a cosine from the learning rate down to ``final`` (absolute rates).

    Warm-up begins at ``warmup_start`` and takes ``warmup_epochs`` passes over the data, or ``warmup_share`` of all
    passes, rounded down, where their number depends on the data. The cosine begins after it, or, where ``throughout``,
    with the training, so that warm-up takes the place of its first part. ``every`` says whether the rate changes with
    each step or stands still within an epoch; ``first_epoch`` is the number that the schedule gives to the first one
    (timm counts from 0, SimCore from 1).
    """

    kind: Literal["cosine"] = "cosine"
    final: float = Field(default=0.0, ge=0)
    warmup_epochs: int = Field(default=0, ge=0)
    warmup_share: Probability = 0.0
    warmup_start: float = Field(default=0.0, ge=0)
    throughout: bool = False
    every: Literal["step", "epoch"] = "epoch"
    first_epoch: Literal[0, 1] = 0

    @model_validator(mode="after")
    def _one_warmup(self) -> Self:
        if self.warmup_epochs and self.warmup_share:
            raise wrong("give warmup_epochs or warmup_share, not both", "warmup_share")
        return self
