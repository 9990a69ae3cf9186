"""Images of few bytes that would ask for gigabytes are unusable, in one sentence."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from competition.data.shards import Sample
from competition.errors import EvaluationError
from competition.evaluation.images import MAX_PIXELS, ImageDecodingError, Preparation, decode_rgb
from competition.evaluation.sets import load_classification
from tests.competition.evaluation.test_sets import encoded, write_set


def strip(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height)).save(stream, "PNG", optimize=True)
    return stream.getvalue()


@pytest.mark.parametrize("size", [(1, 65_000), (65_000, 1), (1, 8_000)])
def test_a_strip_whose_resized_side_is_endless_is_unusable(size: tuple[int, int]) -> None:
    assert len(strip(*size)) < 500
    image = decode_rgb(strip(*size))
    with pytest.raises(ImageDecodingError, match=f"too elongated .{size[0]} x {size[1]} pixels"):
        Preparation(224)(image)


def test_a_set_with_such_a_strip_names_the_sample(tmp_path: Path) -> None:
    samples = [
        Sample("sound", {"png": encoded((9, 9)), "cls": b"0"}),
        Sample("strip", {"png": strip(1, 65_000), "cls": b"1"}),
    ]
    folder = write_set(tmp_path / "set", samples, classnames="a\nb\n", zeroshot_classification_templates="{c}\n")
    with pytest.raises(EvaluationError, match=r"first 'strip': .* too elongated"):
        load_classification(folder, Preparation(224))


@pytest.mark.parametrize(("size", "side"), [((1, 65_000), 8), ((8_000, 1), 16), ((3, 1000), 64)])
def test_long_images_within_the_bound_keep_torchvisions_pixels(size: tuple[int, int], side: int) -> None:
    image = decode_rgb(encoded(size))
    assert side * side * max(size) // min(size) < MAX_PIXELS
    reference = Compose([Resize(side, interpolation=InterpolationMode.BICUBIC), CenterCrop(side)])
    assert np.array_equal(Preparation(side)(image), np.asarray(reference(image)))


def test_a_squashed_strip_is_as_small_as_any_image() -> None:
    assert Preparation(16, squash=True)(decode_rgb(strip(1, 65_000))).shape == (16, 16, 3)
