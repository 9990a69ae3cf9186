"""Random crops and flips of batches of images, as SimCore trains its classifiers with them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

AREA = (0.2, 1.0)
RATIO = (3 / 4, 4 / 3)
_TRIES = 10


def random_crops(images: torch.Tensor, size: int, generator: np.random.Generator) -> torch.Tensor:
    """A part of each image, 0.2 to 1 of its area and between 3:4 and 4:3, resized and flipped or not.

    Args:
        images: float32 [N, C, H, W].
        size: of the results' sides.
        generator: of all choices.
    """
    parts = []
    for image in images:
        top, left, height, width = crop_box(image.shape[1], image.shape[2], generator)
        part = image[None, :, top : top + height, left : left + width]
        part = nn.functional.interpolate(part, (size, size), mode="bilinear", antialias=True, align_corners=False)
        parts.append(part.flip(3) if generator.random() < 0.5 else part)
    return torch.cat(parts)


def crop_box(height: int, width: int, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width; after ten boxes that did not fit, the middle in the nearest allowed shape."""
    for _ in range(_TRIES):
        area = height * width * generator.uniform(*AREA)
        ratio = math.exp(generator.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            return int(generator.integers(height - high + 1)), int(generator.integers(width - wide + 1)), high, wide
    high, wide = min(height, round(width / RATIO[0])), min(width, round(height * RATIO[1]))
    return (height - high) // 2, (width - wide) // 2, high, wide
