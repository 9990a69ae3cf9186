"""ImageNetV2's network features: VGG-16 before its last layer, of raw pixels (Recht et al., 2019, featurize.py)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.errors import UsageError

DIMENSIONS = 4096


def fc7_features(images: NDArray[np.uint8], weights: Path) -> NDArray[np.float32]:
    """Features after the second hidden layer's ReLU, dropout off; pixels from 0 to 255 go in as they are.

    Args:
        images: uint8 (n, 224, 224, 3).
        weights: of torchvision's VGG-16, as safetensors; ImageNetV2 used those trained on ImageNet.

    Returns:
        float32 (n, 4096).

    Raises:
        UsageError: the weights are absent, no safetensors, or those of another network.
        StorageError: they cannot be read.
    """
    import torch

    network = _network(weights)
    with torch.inference_mode():
        pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32))
        features: NDArray[np.float32] = network(pixels).numpy()
    return features


@lru_cache(maxsize=1)
def _network(weights: Path) -> Any:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from torchvision.models import vgg16

    if not weights.is_file():
        raise UsageError(f"There are no weights {weights}.")
    with torch.device("meta"):
        network = vgg16(weights=None)
    try:
        with storage_errors("reading", weights):
            network.load_state_dict(load_file(weights), assign=True)
    except (SafetensorError, RuntimeError) as error:
        raise UsageError(
            f"The weights {weights} are not those of torchvision's VGG-16 as safetensors.",
            hint="Save `torchvision.models.vgg16(weights=...).state_dict()` with safetensors.",
        ) from error
    network.classifier = network.classifier[:-1]
    return network.eval()
