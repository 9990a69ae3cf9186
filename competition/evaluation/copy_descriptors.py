"""Descriptors in which copies of one picture lie close together, without any model."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DIMENSIONS = 256

_THUMBNAIL = 16
_PROJECTION_SEED = 20_260_104

Floats = NDArray[np.float32]


@lru_cache(maxsize=8)
def orthonormal(rows: int, columns: int) -> Floats:
    """A fixed float32 matrix (rows, columns) with orthonormal rows (at most ``columns``); multiplying keeps angles."""
    rng = np.random.default_rng([_PROJECTION_SEED, rows, columns])
    basis, _ = np.linalg.qr(rng.standard_normal((columns, rows)))
    matrix = basis.T.astype(np.float32)
    matrix.flags.writeable = False  # callers share it
    return matrix


def thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    """What a descriptor is made of: RGB uint8 (16, 16, 3), each pixel the mean of its part of the image."""
    return np.asarray(image.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX))


def describe_thumbnails(thumbnails: NDArray[np.uint8]) -> Floats:
    """Thumbnails uint8 (n, 16, 16, 3) without their mean colour, in a fixed orthonormal projection to 256 dimensions.

    Float32 (n, 256), L2-normalised; a picture without any contrast has a zero descriptor, which is like nothing.
    """
    points = thumbnails.astype(np.float32)
    centred = (points - points.mean(axis=(1, 2), keepdims=True)).reshape(len(points), -1)
    projected = centred @ orthonormal(DIMENSIONS, centred.shape[1]).T
    lengths = np.linalg.norm(projected, axis=1, keepdims=True)
    normalised: Floats = (projected / np.maximum(lengths, 1e-6)).astype(np.float32)
    return normalised


def copy_descriptors(images: list[Image.Image]) -> Floats:
    """The descriptors of RGB images, float32 (n, 256). Stands for DataComp's ISC21 descriptor."""
    return describe_thumbnails(np.stack([thumbnail(image) for image in images]))
