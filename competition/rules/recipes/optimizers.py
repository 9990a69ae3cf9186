"""Optimisers and schedules of image-model recipes (timm's and SimCore's)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from competition.rules.base import Rule


class Sgd(Rule):
    """SGD with Nesterov momentum. Biases and one-dimensional parameters are decayed only where ``decay_all``."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    decay_all: bool = False


class AdamW(Rule):
    """AdamW. Biases and one-dimensional parameters are decayed only where ``decay_all``."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: float = Field(gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(ge=0)
    decay_all: bool = False


ImageOptimizer = Annotated[Sgd | AdamW, Field(discriminator="kind")]


class Cosine(Rule):
    """Linear warm-up, then half a cosine from the learning rate down to ``final`` (absolute rates).

    Warm-up begins at ``warmup_start`` and takes ``warmup_epochs`` passes over the data. ``every`` says whether the
    rate changes with each step or stands still within an epoch; ``first_epoch`` is the number that the schedule
    gives to the first one (timm counts from 0, SimCore from 1).
    """

    kind: Literal["cosine"] = "cosine"
    final: float = Field(default=0.0, ge=0)
    warmup_epochs: int = Field(default=0, ge=0)
    warmup_start: float = Field(default=0.0, ge=0)
    every: Literal["step", "epoch"] = "epoch"
    first_epoch: Literal[0, 1] = 0
