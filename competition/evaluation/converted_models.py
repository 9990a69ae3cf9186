"""Models that are published as pickles only, which are never loaded here: DINO's ResNet-50, and the Inception of 2015.

Who needs one converts its file once to safetensors, see docs/dataset-metrics.md; here they are built without it and
filled, every tensor's name and shape being checked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from competition.errors import EvaluationError
from competition.evaluation.image_encoders import ImageEncoder, PixelStatistics
from competition.evaluation.image_models import build_image_model
from competition.evaluation.images import Preparation
from competition.rules.recipes import Backbone

DINO_RN50 = "dino_resnet50_pretrain"
"""DINO's ResNet-50 (Caron et al. 2021), at torchvision's 256 and 224 pixels."""

INCEPTION_2015 = "pt_inception-2015-12-05"
"""The Inception that FID, KID and the Inception score are published with, as ported by pytorch-fid."""

_IMAGENET = PixelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_FROM_MINUS_ONE = PixelStatistics((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_COUNTERS = "num_batches_tracked"
_INCEPTION_CLASSES = 1008
_AVERAGED = ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7b")
_TAKEN_GREATEST = "Mixed_7c"


def load_converted(name: str, folder: Path, device: torch.device) -> ImageEncoder:
    """One of the models above, from ``<folder>/<name>.safetensors``.

    Raises:
        EvaluationError: the file is absent, cannot be read, or is another model's.
    """
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise EvaluationError(
            f"The weights {name} are not at {path}.",
            hint="Their authors publish a pickle, which is never loaded here; docs/dataset-metrics.md converts it.",
        )
    if name == DINO_RN50:
        model = build_image_model(Backbone(name="resnet50"), 0)
        fill(model, path)
        return ImageEncoder(model, Preparation(224, resize=256), _IMAGENET, device)
    model = inception_2015()
    fill(model, path)
    without_bias(model)
    return ImageEncoder(model, Preparation(299, interpolation="bilinear", squash=True), _FROM_MINUS_ONE, device)


def fill(model: nn.Module, path: Path) -> None:
    """Give a model the weights of a file; a classifier that the model has not is left out.

    Raises:
        EvaluationError: they cannot be read, or are another model's.
    """
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise EvaluationError(f"The weights {path} cannot be read: {error}.", hint="Convert them again.") from error
    expected = {name: value.shape for name, value in model.state_dict().items() if not name.endswith(_COUNTERS)}
    kept = {name: value for name, value in weights.items() if name in expected or not name.startswith("fc.")}
    found = {name: value.shape for name, value in kept.items() if not name.endswith(_COUNTERS)}
    if found != expected:
        wrong = min({*found.items()} ^ {*expected.items()})[0]
        raise EvaluationError(f"The weights {path} are another model's: {wrong!r} differs.", hint="Convert them again.")
    model.load_state_dict(kept, strict=False)


def inception_2015() -> nn.Module:
    """Inception-v3 as TensorFlow's file of 2015 has it, with fresh weights.

    It differs from torchvision's and timm's in how blocks pool: a mean leaves out what lies beyond the edge, and the
    last block takes the greatest value instead of the mean.
    """
    model = build_image_model(Backbone(name="inception_v3"), _INCEPTION_CLASSES)
    mean = partial(functional.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
    for name in _AVERAGED:
        _pool_by(getattr(model, name), mean)
    _pool_by(getattr(model, _TAKEN_GREATEST), partial(functional.max_pool2d, kernel_size=3, stride=1, padding=1))
    return model


def without_bias(model: Any) -> None:
    """Inception scores are of logits without the classifier's bias (Salimans et al.'s program)."""
    with torch.no_grad():
        model.fc.bias.zero_()


def _pool_by(block: Any, pool: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Let a block of timm's Inception make its last branch of another pooling than its own."""

    original, width = block.forward, block.branch_pool.conv.out_channels

    def forward(given: torch.Tensor) -> torch.Tensor:
        return torch.cat([original(given)[:, :-width], block.branch_pool(pool(given))], 1)

    block.forward = forward
