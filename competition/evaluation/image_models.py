"""Image models of recipes: timm's architectures, built from scratch."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import nn

from competition.errors import TrainingError
from competition.rules.recipes import Backbone


def build_image_model(backbone: Backbone, classes: int, seed: int = 0, **further: Any) -> nn.Module:
    """A timm model with freshly drawn float32 weights on the CPU, in training mode.

    The weights depend on ``seed`` alone: the global random state is neither used nor changed.

    Args:
        backbone: its name and options.
        classes: outputs of the classifier; with 0 the model gives pooled features.
        seed: of the weights.
        further: options of the method that trains it.

    Raises:
        TrainingError: the installed timm does not know the model, or not with these options.
    """
    options: dict[str, Any] = {**backbone.options, **further}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            return timm.create_model(backbone.name, pretrained=False, num_classes=classes, **options)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise TrainingError(
                f"timm {timm.__version__} cannot build the backbone {backbone.name!r} with its options: {error}.",
                hint="Correct `backbone` of the recipe; `timm.list_models()` names what there is.",
            ) from error
