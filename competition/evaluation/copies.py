"""Copies of test images in an entry's data: the same bytes, the same pixels, or nearly the same thumbnail.

DataComp removed from its pool what a copy-detection network found alike to a test image (Gadre et al., 2023, appendix
E); SimCore (Kim et al., 2023) compares files. Here three fingerprints are compared, none of which needs a model:

* sha256 of the encoded image, and of its RGB pixels with their size: exact copies, re-packed losslessly or not at all;
* a descriptor of the thumbnail: copies that were scaled or encoded again. What was cropped, turned or mirrored is not
  found.

Of a sha256 the first 128 bits are kept: a chance match of a billion images with a million has a probability of 1e-24.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from competition.data.uids import UID_DTYPE, UidArray, count_in, parse_uids, sort_uids
from competition.evaluation.copy_descriptors import DIMENSIONS, Floats, describe_thumbnails, thumbnail
from competition.evaluation.images import decode_rgb

_ROWS_AT_A_TIME = 1 << 11
_HEX = 32
"""Digits of a digest that are kept."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of one image: sha256 of its bytes and of its pixels in hex, thumbnail uint8 (16, 16, 3)."""

    encoded: str
    pixels: str
    thumbnail: NDArray[np.uint8]


def fingerprint(data: bytes) -> Fingerprint:
    """Of an encoded image (raises ``ImageDecodingError``)."""
    return fingerprint_of(hashlib.sha256(data).hexdigest(), decode_rgb(data))


def fingerprint_of(encoded: str, image: Image.Image) -> Fingerprint:
    """Of a decoded RGB image, whose bytes had the sha256 ``encoded``."""
    size = f"{image.width} {image.height} ".encode()
    return Fingerprint(encoded, hashlib.sha256(size + image.tobytes()).hexdigest(), thumbnail(image))


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Of n images: digests as pairs of integers (n,), each in the images' order, descriptors float32 (n, 256).

    Where only digests of the encoded images are known, ``pixels`` and ``descriptors`` have no rows.
    """

    encoded: UidArray
    pixels: UidArray
    descriptors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.encoded)

    @classmethod
    def of(cls, images: Sequence[Fingerprint]) -> Fingerprints:
        """Of images in order."""
        if not images:
            none = np.zeros(0, dtype=UID_DTYPE)
            return cls(none, none, np.zeros((0, DIMENSIONS), dtype=np.float32))
        return cls(
            short_digests([image.encoded for image in images]),
            short_digests([image.pixels for image in images]),
            describe_thumbnails(np.stack([image.thumbnail for image in images])),
        )

    @classmethod
    def of_digests(cls, encoded: Sequence[str]) -> Fingerprints:
        """Of images whose sha256 is all that is known, in hex."""
        return cls(short_digests(encoded), np.zeros(0, dtype=UID_DTYPE), np.zeros((0, DIMENSIONS), dtype=np.float32))


def short_digests(digests: Sequence[str]) -> UidArray:
    """The first 128 bits of each sha256 in hex, as pairs of integers (raises ``DataFormatError`` where one is not)."""
    return parse_uids([each[:_HEX] for each in digests])


@dataclass(frozen=True, slots=True)
class Copies:
    """What some images have of some test images.

    ``exact`` and ``near`` bool (test images): is there a copy of it; an exact copy is not always a near one, as a
    picture without contrast is near to nothing. ``samples`` bool (images): is it a copy of a test image.
    """

    exact: Mask
    near: Mask
    samples: Mask


def find_copies(images: Fingerprints, tests: Fingerprints, cosine: float) -> Copies:
    """Compare images with test images.

    Args:
        images: some of an entry's, a few thousand at most at a time.
        tests: of one evaluation set.
        cosine: of descriptors; above it an image is a near copy. Cosines are float32: within 1e-5 of it either may be.
    """
    exact = np.zeros(len(tests), dtype=bool)
    samples = np.zeros(len(images), dtype=bool)
    for ours, theirs in ((images.encoded, tests.encoded), (images.pixels, tests.pixels)):
        if len(ours):
            exact |= count_in(theirs, sort_uids(ours)) > 0
            samples |= count_in(ours, sort_uids(theirs)) > 0
    near = np.zeros(len(tests), dtype=bool)
    if len(images.descriptors):
        for start in range(0, len(tests), _ROWS_AT_A_TIME):
            part = slice(start, start + _ROWS_AT_A_TIME)
            above = images.descriptors @ tests.descriptors[part].T > np.float32(cosine)
            near[part] = above.any(axis=0)
            samples |= above.any(axis=1)
    return Copies(exact, near, samples)


def near_pairs(descriptors: Floats, tests: Floats, cosine: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions (image, test image) of all pairs of unit rows whose cosine is above ``cosine``."""
    images: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    found: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    for first in range(0, len(descriptors), _ROWS_AT_A_TIME):
        rows = np.asarray(descriptors[first : first + _ROWS_AT_A_TIME], dtype=np.float32)
        for start in range(0, len(tests), _ROWS_AT_A_TIME):
            image, test = np.nonzero(rows @ tests[start : start + _ROWS_AT_A_TIME].T > np.float32(cosine))
            images.append(image + first)
            found.append(test + start)
    return np.concatenate(images), np.concatenate(found)


def equal_pairs(digests: UidArray, tests: UidArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions (image, test image) of all pairs of equal digests."""
    rows = np.flatnonzero(count_in(digests, sort_uids(tests)) > 0)
    places: dict[tuple[int, int], list[int]] = {}
    for place in np.flatnonzero(count_in(tests, sort_uids(digests[rows])) > 0).tolist():
        places.setdefault(tests[place].item(), []).append(place)
    pairs = [(row, place) for row in rows.tolist() for place in places[digests[row].item()]]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
