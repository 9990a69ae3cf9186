"""The image model that a method trains: timm's, built from scratch, with weights from the seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import numpy as np
import timm
import torch
from torch import nn

from competition.errors import TrainingError
from competition.rules.recipes import Backbone


class Stream(IntEnum):
    """What initial weights are drawn for; each kind has random numbers of its own."""

    BACKBONE = 0
    HEADS = 1


@contextmanager
def drawn(seed: int, stream: Stream) -> Iterator[None]:
    """Weights made within come from the seed; the global random state is as before afterwards."""
    with torch.random.fork_rng(devices=[]):
        state = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
        torch.default_generator.manual_seed(int(state >> 1))
        yield


def build_backbone(backbone: Backbone, seed: int, **further: Any) -> nn.Module:
    """The model without a classifier, float32 on the CPU: images [B, 3, S, S] to features [B, ``num_features``].

    Args:
        backbone: name and options.
        seed: of the weights, which depend on nothing else.
        further: options of the method.

    Raises:
        TrainingError: timm has no such model, or it does not take these options.
    """
    options: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in backbone.options.items()
    }
    try:
        with drawn(seed, Stream.BACKBONE):
            model: nn.Module = timm.create_model(backbone.name, pretrained=False, num_classes=0, **options, **further)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise TrainingError(
            f"timm cannot build the backbone {backbone.name!r}: {error}.",
            hint="Name a model of timm, and options that it takes, in the recipe's backbone.",
        ) from error
    return model


def width(backbone: nn.Module) -> int:
    """Numbers in a feature."""
    return int(backbone.num_features)  # type: ignore[arg-type]  # every model of timm says it
