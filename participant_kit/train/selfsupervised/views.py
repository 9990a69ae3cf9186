"""Two or more random views of every image, made by torchvision's transforms.

They draw from torch's global generator; here it is seeded for each sample from (seed, step, position in the whole
batch) and put back afterwards, so that any worker can prepare any part of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from competition.rules.recipes import SelfSupervisedRecipe
from competition.rules.recipes.selfsupervised import Views
from participant_kit.train.data.decode import decode_pixels
from participant_kit.train.data.loader import Draw
from participant_kit.train.data.samples import CorruptSampleError, Decoded
from participant_kit.train.data.source import RawSample

Transform = Callable[[Image.Image], Image.Image]

_STREAM = 7


class ViewPreparation:
    """The views of a self-supervised recipe."""

    def __init__(self, recipe: SelfSupervisedRecipe) -> None:
        views = recipe.views
        self._sizes = [recipe.image_size] * views.count + [views.local_size] * views.local_count
        self._transforms = [view_transform(views, recipe.image_size, views.scale)] * views.count
        self._transforms += [view_transform(views, views.local_size, views.local_scale)] * views.local_count

    def decode(self, raw: RawSample) -> Decoded:
        """Pixels of a sample, without a target (raises ``ImageDecodingError`` or ``CorruptSampleError``)."""
        if raw.image is None:
            raise CorruptSampleError("it has no image")
        return decode_pixels(raw.image), None

    def batch(self, samples: Sequence[Decoded], draw: Draw) -> tuple[torch.Tensor, ...]:
        """One tensor a view, uint8 [B, S, S, 3]: the full-size ones first."""
        outputs: list[NDArray[np.uint8]] = [
            np.empty((len(samples), size, size, 3), dtype=np.uint8) for size in self._sizes
        ]
        with torch.random.fork_rng(devices=[]):
            for row, (pixels, _) in enumerate(samples):
                torch.default_generator.manual_seed(_seed(draw, row))
                image = Image.fromarray(pixels)
                for output, transform in zip(outputs, self._transforms, strict=True):
                    output[row] = np.asarray(transform(image))
        return tuple(torch.from_numpy(output) for output in outputs)


def view_transform(views: Views, size: int, scale: tuple[float, float]) -> Transform:
    """SimCore's transform of an RGB image (``set_loader``), without its last step to normalised floats."""
    steps: list[Transform] = [
        transforms.RandomResizedCrop(size, scale=scale, interpolation=InterpolationMode(views.interpolation))
    ]
    if views.horizontal_flip:
        steps.append(transforms.RandomHorizontalFlip(views.horizontal_flip))
    if views.jitter is not None:
        jitter = views.jitter
        colours = transforms.ColorJitter(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
        steps.append(transforms.RandomApply([colours], p=jitter.probability))
    if views.grayscale:
        steps.append(transforms.RandomGrayscale(views.grayscale))
    whole: Transform = transforms.Compose(steps)
    return whole


def _seed(draw: Draw, row: int) -> int:
    sequence = np.random.SeedSequence([draw.seed, _STREAM, draw.step, draw.first + row])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
