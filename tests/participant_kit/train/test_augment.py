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
from participant_kit.train.data.loader import Draw


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 90), (200, 20), (20, 200), (1, 1)])
def test_boxes_are_distributed_as_torchvisions(height: int, width: int) -> None:
    count = 3000
    ours = crop_boxes(Draw(0, 0, 0, count), np.tile([[height, width]], (count, 1)), (0.9, 1.0))
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
    for box in crop_boxes(Draw(3, 0, 0, 20), np.tile([[64, 48]], (20, 1)), (0.3, 1.0)):
        expected = tf.resized_crop(Image.fromarray(pixels), *box.tolist(), [32, 32], InterpolationMode.BICUBIC)
        assert np.array_equal(crop_and_resize(pixels, box, 32), np.asarray(expected))


def test_boxes_depend_on_seed_and_step_only() -> None:
    sizes = np.tile([[64, 64]], (16, 1))
    assert np.array_equal(
        crop_boxes(Draw(1, 2, 0, 16), sizes, (0.9, 1.0)), crop_boxes(Draw(1, 2, 0, 16), sizes, (0.9, 1.0))
    )
    assert not np.array_equal(
        crop_boxes(Draw(1, 2, 0, 16), sizes, (0.9, 1.0)), crop_boxes(Draw(1, 3, 0, 16), sizes, (0.9, 1.0))
    )
    assert not np.array_equal(
        crop_boxes(Draw(1, 2, 0, 16), sizes, (0.9, 1.0)), crop_boxes(Draw(2, 2, 0, 16), sizes, (0.9, 1.0))
    )


def test_processes_cut_their_share_of_a_batch_as_one_would() -> None:
    sizes = np.random.default_rng(0).integers(8, 64, (16, 2))
    whole = crop_boxes(Draw(1, 2, 0, 16), sizes, (0.2, 1.0))
    shares = [crop_boxes(Draw(1, 2, first, 16), sizes[first : first + 4], (0.2, 1.0)) for first in range(0, 16, 4)]
    assert np.array_equal(whole, np.concatenate(shares))
