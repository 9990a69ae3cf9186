"""Prepared pixels are, bit for bit, those of torchvision's, open_clip's and timm's own evaluation transforms."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transform import image_transform
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from competition.errors import EvaluationError
from competition.evaluation.encoders import normalise_pixels
from competition.evaluation.images import Preparation, decode_rgb
from tests.competition.evaluation.test_sets import encoded

SIZES = [(1, 1), (3, 200), (31, 97), (97, 31), (224, 224), (225, 224), (224, 225), (333, 500), (641, 479), (17, 18)]


def rgb(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pixels_are_those_of_torchvision_on_pil_images(size: tuple[int, int], kind: str) -> None:
    data = encoded(size, kind=kind)
    reference = Compose([Resize(224, interpolation=InterpolationMode.BICUBIC), CenterCrop(224)])
    assert np.array_equal(Preparation(224)(decode_rgb(data)), np.asarray(reference(rgb(data))))


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 160), height=st.integers(1, 160), size=st.integers(1, 48), more=st.integers(0, 9),
    bilinear=st.booleans(), squash=st.booleans(),
)  # fmt: skip
def test_any_shape_and_any_transform(
    width: int, height: int, size: int, more: int, bilinear: bool, squash: bool
) -> None:
    image = rgb(encoded((width, height)))
    resize = size + more
    mode = InterpolationMode.BILINEAR if bilinear else InterpolationMode.BICUBIC
    reference = Compose([Resize((resize, resize) if squash else resize, interpolation=mode), CenterCrop(size)])
    ours = Preparation(size, resize=resize, interpolation="bilinear" if bilinear else "bicubic", squash=squash)
    assert np.array_equal(ours(image), np.asarray(reference(image)))


@pytest.mark.parametrize("size", [(41, 60), (60, 41), (29, 29)])
@pytest.mark.parametrize("mode", ["center", "squash"])
def test_timms_evaluation_transform(size: tuple[int, int], mode: str) -> None:
    image, mean, std = rgb(encoded(size)), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    reference = transforms_imagenet_eval(24, crop_pct=0.95, crop_mode=mode, interpolation="bicubic", mean=mean, std=std)
    ours = Preparation(24, resize=math.floor(24 / 0.95), squash=mode == "squash")(image)
    assert torch.equal(normalise_pixels(torch.from_numpy(ours.copy()[None]), mean, std)[0], reference(image))


def test_open_clips_squash() -> None:
    image = rgb(encoded((40, 23)))
    reference = image_transform(16, is_train=False, resize_mode="squash", interpolation="bilinear")(image)
    ours = Preparation(16, interpolation="bilinear", squash=True)(image)
    assert torch.equal(normalise_pixels(torch.from_numpy(ours.copy()[None]))[0], reference)


def test_pixels_stored_by_planes_are_normalised_to_the_same_bits() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 9, 9, 3), dtype=np.uint8))
    planes = pixels.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    before = planes.clone()
    assert torch.equal(normalise_pixels(planes), normalise_pixels(pixels))
    assert torch.equal(planes, before)
    assert normalise_pixels(planes).is_contiguous()


def test_transforms_that_cannot_be_are_refused() -> None:
    with pytest.raises(EvaluationError, match="'nearest'"):
        Preparation(8, interpolation="nearest")
    with pytest.raises(EvaluationError, match="7 pixels cannot be cut to 8"):
        Preparation(8, resize=7)


def test_every_part_of_a_transform_is_in_its_identity() -> None:
    transforms = [
        Preparation(8),
        Preparation(9),
        Preparation(8, resize=9),
        Preparation(8, interpolation="bilinear"),
        Preparation(8, squash=True),
    ]
    assert len({str(transform.identity) for transform in transforms}) == len(transforms)
