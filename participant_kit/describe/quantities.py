"""Distributions of a dataset's quantities, counted in fixed bins: no dataset needs more memory. Pure; numpy alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """Something that a row has a number of.

    Args:
        key: its name in JSON.
        title: for people.
        unit: of the values, empty for a ratio.
        edges: float64, ascending: lower edges of the bins that are counted. Bin 0 is open below, the last one above.
        shown: the edges, some of these, of the bins that a plot shows.
        counted: what has the values.
    """

    key: str
    title: str
    unit: str
    edges: Floats
    shown: Floats
    counted: str = "rows"


@dataclass(frozen=True, slots=True)
class Distribution:
    """Rows by their value of a quantity.

    Args:
        key: of the quantity.
        counts: int64, one more than the quantity has edges: bin *i* holds ``edges[i - 1] <= value < edges[i]``.
        missing: rows without a value, or with one that is no number.
    """

    key: str
    counts: Counts
    missing: int

    @classmethod
    def of(cls, key: str, values: ArrayLike, copies: ArrayLike | None = None) -> Distribution:
        """Count values.

        Args:
            key: of the quantity that they are of.
            values: shape (rows,), NaN where missing.
            copies: how often each row counts, not negative; once when absent.
        """
        quantity = QUANTITIES[key]
        given = np.asarray(values, dtype=np.float64)
        weights = np.ones(len(given), np.int64) if copies is None else np.asarray(copies, dtype=np.int64)
        known = np.isfinite(given)
        bins = np.searchsorted(quantity.edges, given[known], side="right")
        # Sums of whole numbers below 2 ** 53 are exact in float64.
        counts = np.bincount(bins, weights[known], minlength=len(quantity.edges) + 1).astype(np.int64)
        return cls(key, counts, int(weights[~known].sum()))

    @classmethod
    def total(cls, parts: Iterable[Distribution]) -> Distribution | None:
        """All parts together; ``None`` of none."""
        found = list(parts)
        if not found:
            return None
        counts: Counts = np.sum([part.counts for part in found], axis=0)
        return cls(found[0].key, counts, sum(part.missing for part in found))

    @property
    def quantity(self) -> Quantity:
        """What was counted."""
        return QUANTITIES[self.key]

    @property
    def rows(self) -> int:
        """Rows with a value."""
        return int(self.counts.sum())

    def quantile(self, share: float) -> float | None:
        """The least value that at least ``share`` of the rows do not exceed, cut to the edge below it.

        ``None`` where no row has a value. A value below the first edge is said as that edge, one above the last as the
        last.
        """
        if not self.rows:
            return None
        place = int(np.searchsorted(np.cumsum(self.counts), max(1, math.ceil(share * self.rows))))
        return float(f"{self.quantity.edges[max(0, place - 1)]:.6g}")

    def shown(self) -> Counts:
        """Counts of the bins that a plot shows: one more than the quantity's ``shown`` edges."""
        starts = np.searchsorted(self.quantity.edges, self.quantity.shown) + 1
        return np.add.reduceat(self.counts, np.concatenate([[0], starts]))

    def as_json(self) -> dict[str, Any]:
        """Rows, missing ones, quantiles, and the bins that are shown."""
        return {
            "title": self.quantity.title,
            "unit": self.quantity.unit,
            "rows": self.rows,
            "missing": self.missing,
            "quantiles": {str(share): self.quantile(share) for share in QUANTILES},
            "edges": [float(f"{edge:.6g}") for edge in self.quantity.shown.tolist()],
            "counts": self.shown().tolist(),
        }


def _whole(last: int) -> Floats:
    return np.arange(last + 1, dtype=np.float64)


def _fine(low: float, high: float, step: float) -> Floats:
    """Multiples of a step, each the float that its decimal means."""
    return np.round(np.arange(round(low / step), round(high / step) + 1) * step, 6)


_PIXELS = np.array(
    [16, 32, 48, 64, 96, 128, 160, 200, 240, 280, 320, 384, 448, 512, 640, 768, 1024, 1280, 1600, 2048, 3072, 4096],
    dtype=np.float64,
)
_WORDS = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 100], dtype=np.float64)
_CHARACTERS = np.array([1, 5, 10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 400], dtype=np.float64)
_MEGAPIXELS = np.array(
    [0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 2, 5, 10, 20, 50], dtype=np.float64
)
_ASPECTS = np.array([0.25, 0.33, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.5, 2, 3, 4], dtype=np.float64)
_COSINES = _fine(-1, 1, 1e-4)


def _cosine(key: str, title: str, shown: Floats, counted: str = "rows") -> Quantity:
    """A cosine, of float32: so are the edges, that a stored float32(0.2) is in the bin from 0.2."""
    edges, bins = (values.astype(np.float32).astype(np.float64) for values in (_COSINES, shown))
    return Quantity(key, title, "cosine", edges, bins, counted)


_SCORES = _fine(-0.5, 0.9, 0.025)
_LIKE = np.array(
    [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995]
)

WIDTH = Quantity("width", "Width", "pixels", _whole(16_384), _PIXELS)
HEIGHT = Quantity("height", "Height", "pixels", _whole(16_384), _PIXELS)
SHORTER_SIDE = Quantity("shorter_side", "Shorter side", "pixels", _whole(16_384), _PIXELS)
ASPECT = Quantity("aspect", "Width by height", "", _fine(0.01, 40, 0.01), _ASPECTS)
MEGAPIXELS = Quantity("megapixels", "Area", "megapixels", _fine(0.001, 64, 0.001), _MEGAPIXELS)
WORDS = Quantity("caption_words", "Words of a caption", "words", _whole(1_000), _WORDS)
CHARACTERS = Quantity("caption_characters", "Characters of a caption", "characters", _whole(10_000), _CHARACTERS)
B32 = _cosine("clip_b32_similarity_score", "CLIP score, ViT-B/32", _SCORES)
L14 = _cosine("clip_l14_similarity_score", "CLIP score, ViT-L/14", _SCORES)
COVERED = _cosine("reference_similarity", "Nearest row of each reference", _LIKE, "references")
ALIKE = _cosine("nearest_similarity", "Nearest other row of each row", _LIKE)

SIZES = (WIDTH, HEIGHT, SHORTER_SIDE, ASPECT, MEGAPIXELS)
CAPTIONS = (WORDS, CHARACTERS)
SCORES = (B32, L14)
QUANTITIES = {each.key: each for each in (*SIZES, *CAPTIONS, *SCORES, COVERED, ALIKE)}
"""By key: workers send keys, not edges."""


def size_values(widths: Floats, heights: Floats) -> dict[str, Floats]:
    """What follows from the sizes of images, in pixels; NaN where one is missing or not positive."""
    known = (widths > 0) & (heights > 0)
    width, height = np.where(known, widths, np.nan), np.where(known, heights, np.nan)
    return {
        WIDTH.key: width,
        HEIGHT.key: height,
        SHORTER_SIDE.key: np.minimum(width, height),
        ASPECT.key: width / height,
        MEGAPIXELS.key: width * height / 1e6,
    }


def caption_values(captions: Iterable[str]) -> dict[str, Floats]:
    """Words (as ``str.split`` cuts them) and characters (code points) of captions."""
    texts = list(captions)
    words = np.fromiter((len(text.split()) for text in texts), np.float64, len(texts))
    return {WORDS.key: words, CHARACTERS.key: np.fromiter(map(len, texts), np.float64, len(texts))}
