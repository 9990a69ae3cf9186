"""open_clip's training augmentation (RandomResizedCrop, PIL bicubic) with randomness that belongs to the step.

torchvision draws crops from the global generator; here they come from (seed, step), so that any step can be prepared
at any time, by any worker, with the same result.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from participant_kit.train.data.loader import Draw

_CROP_STREAM = 2
_ATTEMPTS = 10
_RATIOS = (3.0 / 4.0, 4.0 / 3.0)


def crop_boxes(draw: Draw, sizes: NDArray[np.int64], scale: tuple[float, float]) -> NDArray[np.int64]:
    """Random crops [B, 4] of (top, left, height, width) in images of ``sizes`` [B, 2] of (height, width).

    The distribution is that of ``torchvision.transforms.RandomResizedCrop.get_params``: ten attempts at a box of a
    uniformly drawn share ``scale`` of the area and a log-uniformly drawn aspect ratio; else the largest centred box
    whose aspect ratio is allowed.
    """
    generator = np.random.default_rng([draw.seed, _CROP_STREAM, draw.step])
    part = slice(draw.first, draw.first + len(sizes))
    heights, widths = sizes[:, :1].astype(np.float64), sizes[:, 1:].astype(np.float64)
    area = heights * widths * generator.uniform(*scale, size=(draw.batch, _ATTEMPTS))[part]
    ratio = np.exp(generator.uniform(math.log(_RATIOS[0]), math.log(_RATIOS[1]), size=(draw.batch, _ATTEMPTS))[part])
    width, height = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (width > 0) & (width <= widths) & (height > 0) & (height <= heights)
    first = (np.arange(len(sizes)), np.argmax(fits, axis=1))
    top = np.floor(generator.random(draw.batch)[part] * (heights[:, 0] - height[first] + 1))
    left = np.floor(generator.random(draw.batch)[part] * (widths[:, 0] - width[first] + 1))
    boxes = np.stack([top, left, height[first], width[first]], axis=1).astype(np.int64)
    for row in np.flatnonzero(~fits.any(axis=1)):
        boxes[row] = _centred(int(sizes[row, 0]), int(sizes[row, 1]))
    return boxes


def _centred(height: int, width: int) -> tuple[int, int, int, int]:
    ratio = width / height
    if ratio < _RATIOS[0]:
        box_width, box_height = width, round(width / _RATIOS[0])
    elif ratio > _RATIOS[1]:
        box_width, box_height = round(height * _RATIOS[1]), height
    else:
        box_width, box_height = width, height
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def crop_and_resize(pixels: NDArray[np.uint8], box: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """Cut ``box`` (top, left, height, width) out of RGB pixels [H, W, 3] and resize it to [size, size, 3] (bicubic)."""
    top, left, height, width = (int(value) for value in box)
    crop = Image.fromarray(np.ascontiguousarray(pixels[top : top + height, left : left + width]))
    return np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC))
