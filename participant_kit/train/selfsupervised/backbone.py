"""The image model that a method trains: timm's, built from scratch, with weights from the seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import nn

from competition.evaluation.image_models import build_image_model
from competition.rules.recipes import Backbone


class Stream(IntEnum):
    """What initial weights are drawn for; each kind has random numbers of its own."""

    BACKBONE = 0
    HEADS = 1


@contextmanager
def drawn(seed: int, stream: Stream) -> Iterator[None]:
    """Weights made within come from the seed; the global random state is as before afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_seed_of(seed, stream))
        yield


def build_backbone(backbone: Backbone, seed: int, **further: Any) -> nn.Module:
    """The model without a classifier, float32 on the CPU: images [B, 3, S, S] to features [B, ``num_features``].

    See ``build_image_model`` (raises ``TrainingError``); ``further`` are options of the method.
    """
    return build_image_model(backbone, 0, _seed_of(seed, Stream.BACKBONE), **further)


def _seed_of(seed: int, stream: Stream) -> int:
    return int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0] >> 1)


def width(backbone: nn.Module) -> int:
    """Numbers in a feature."""
    return int(backbone.num_features)  # type: ignore[arg-type]  # every model of timm says it
