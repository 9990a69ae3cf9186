"""Who gets which of scikit-learn's 1,797 handwritten digits (8x8 pixels): one seeded split into four parts.

The reference part trains the score model, the pool part is what participants curate, the two test parts are never
rendered into the pool except for the few images that are leaked on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

SPLIT_SEED = 20_260_101


class Part(StrEnum):
    """A part of the split."""

    REFERENCE = "reference"
    POOL = "pool"
    TEST = "test"
    HIDDEN = "hidden"


SIZES: dict[Part, int] = {Part.REFERENCE: 400, Part.POOL: 500, Part.TEST: 540, Part.HIDDEN: 357}


@dataclass(frozen=True)
class Digits:
    """Some of the digits.

    ``ids`` are positions in scikit-learn's data set, int64 of shape (n,); ``pixels`` is uint8 of shape (n, 8, 8),
    0 for paper to 255 for full ink; ``labels`` is int64 of shape (n,), 0 to 9.
    """

    ids: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@cache
def load_part(part: Part) -> Digits:
    """The digits of one part, in the split's order; the same on every machine."""
    # Only here: who finds the sets built needs neither the digits nor a second to import what brings them.
    from sklearn.datasets import load_digits

    data = load_digits()
    start = 0
    for other, size in SIZES.items():
        if other is part:
            break
        start += size
    ids = np.random.default_rng(SPLIT_SEED).permutation(len(data.target))[start : start + SIZES[part]]
    pixels = np.rint(data.images[ids] * (255 / 16)).astype(np.uint8)
    return Digits(ids.astype(np.int64), pixels, data.target[ids].astype(np.int64))
