"""Descriptors that find copies of one picture: a perceptual hash, and projections that keep angles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from competition.evaluation.copy_descriptors import DIMENSIONS as DEDUP_DIMENSIONS
from competition.evaluation.copy_descriptors import Floats, orthonormal

HASH_SIDE = 32
"""Pixels of the grey thumbnail that a perceptual hash is computed from."""

_LOW = 8
_ROUNDED = 6


def embedding_descriptors(features: Floats) -> Floats:
    """A model's image features (n, d) in a fixed orthonormal projection to 256 dimensions, L2-normalised, float32.

    They take the place of DataComp's ISC21 copy-detection descriptor, which is not computed: its network is not part of
    any package. Features of a CLIP model find pictures of the same content rather than copies of the same picture; the
    perceptual hash tells those apart. Up to 256 dimensions no angle changes; of more, a random share is kept.
    """
    width = features.shape[1]
    if width <= DEDUP_DIMENSIONS:
        points = features @ orthonormal(width, DEDUP_DIMENSIONS)
    else:
        points = features @ orthonormal(DEDUP_DIMENSIONS, width).T
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    normalised: Floats = (points / np.maximum(lengths, 1e-6)).astype(np.float32)
    return normalised


def hash_thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    """What a perceptual hash is computed from: grey, 32 x 32, Lanczos."""
    return np.asarray(image.convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.LANCZOS))


def perceptual_hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """pHash (Zauner, 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.1).

    The 8 x 8 lowest frequencies of the thumbnail's DCT-II; a bit says whether a coefficient is above their median. Bits
    go row by row, the first one the highest: the numbers, in hex, that the package ImageHash calls ``phash``.
    Coefficients are rounded, so that a picture without contrast has the same hash on every machine.

    Args:
        thumbnails: uint8 (n, 32, 32).

    Returns:
        uint64 (n,); copies of one picture differ in few bits.
    """
    positions = np.arange(HASH_SIDE)
    basis = 2 * np.cos(np.pi * np.arange(_LOW)[:, None] * (2 * positions + 1) / (2 * HASH_SIDE))
    frequencies = np.round(basis @ thumbnails.astype(np.float64) @ basis.T, _ROUNDED).reshape(len(thumbnails), -1)
    bits = frequencies > np.median(frequencies, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)
