"""Crops follow torchvision's distribution and are cut and resized to the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as tf

from participant_kit.train.augment import crop_and_resize, crop_boxes


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 90), (200, 20), (20, 200), (1, 1)])
def test_boxes_are_distributed_as_torchvisions(height: int, width: int) -> None:
    count = 3000
    ours = crop_boxes(0, 0, np.tile([[height, width]], (count, 1)), (0.9, 1.0))
    image = Image.new("RGB", (width, height))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = np.array([RandomResizedCrop.get_params(image, [0.9, 1.0], [3 / 4, 4 / 3]) for _ in range(count)])
    assert np.all(ours[:, :2] >= 0)
    assert np.all(ours[:, :2] + ours[:, 2:] <= [height, width])
    for column in range(4):
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-4


def test_cut_and_resized_as_torchvision_does() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (64, 48, 3), dtype=np.uint8)
    for box in crop_boxes(3, 0, np.tile([[64, 48]], (20, 1)), (0.3, 1.0)):
        expected = tf.resized_crop(Image.fromarray(pixels), *box.tolist(), [32, 32], InterpolationMode.BICUBIC)
        assert np.array_equal(crop_and_resize(pixels, box, 32), np.asarray(expected))


def test_boxes_depend_on_seed_and_step_only() -> None:
    sizes = np.tile([[64, 64]], (16, 1))
    assert np.array_equal(crop_boxes(1, 2, sizes, (0.9, 1.0)), crop_boxes(1, 2, sizes, (0.9, 1.0)))
    assert not np.array_equal(crop_boxes(1, 2, sizes, (0.9, 1.0)), crop_boxes(1, 3, sizes, (0.9, 1.0)))
    assert not np.array_equal(crop_boxes(1, 2, sizes, (0.9, 1.0)), crop_boxes(2, 2, sizes, (0.9, 1.0)))
