"""ImageNetV2's distances between two images (Recht et al., 2019, near_duplicate_checker.py), for blocks of images.

``l2`` is the squared Euclidean distance of raw pixels from 0 to 255. ``dssim`` is (1 - SSIM) / 2 with a uniform window,
sample covariance and the mean over channels, as scikit-image computes it. ``features`` is the squared Euclidean
distance of network features, in ImageNetV2 those before VGG-16's last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.nearest import Distances, Products, Rows
from competition.errors import DataFormatError, UsageError

Pixels = NDArray[np.uint8]

WINDOW = 35
"""Side of DSSIM's window in ImageNetV2's production runs."""

_CENTRE = 128
_EXACT_TERMS = 1024
"""So many products of numbers up to 128 sum up to 2^24 at most: exact in float32, in whatever order."""

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_EXACT_ROWS = 1 << 12


class FeatureL2:
    """Squared Euclidean distance of features: float32 scores, float64 distances.

    Args:
        queries: (rows, dimensions), floats, finite.
        references: as many dimensions.
    """

    reference_rows = 1 << 12

    def __init__(self, queries: NDArray[Any], references: NDArray[Any]) -> None:
        self._queries, self._references = queries, references
        self.queries, self.references = len(queries), len(references)
        self._squares = np.full(self.references, np.nan, dtype=np.float32)
        self._products = Products()

    def scores(self, first: slice, second: slice) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """|y|^2 - 2xy, the distance but for |x|^2, which is one query's with all. The next call overwrites them."""
        queries = np.ascontiguousarray(self._queries[first], dtype=np.float32)
        references = np.ascontiguousarray(self._references[second], dtype=np.float32)
        squares = self._squares_of(references, second)
        lengths = np.sqrt(_squares(queries, "queries").astype(np.float64))
        scores = self._products.of(queries * np.float32(-2), references)
        scores += squares
        # Sums of n float32 products are off by less than n * eps * |x||y|, in whatever order they are summed.
        longest = float(np.sqrt(squares.max(initial=0)))
        eps = float(np.finfo(np.float32).eps)
        return scores, (queries.shape[1] + 4) * eps * longest * (2 * lengths + longest)

    def _squares_of(self, block: NDArray[np.float32], rows: slice) -> NDArray[np.float32]:
        """Kept from the first block of queries for the others."""
        known = self._squares[rows]
        if np.isnan(known).any():
            known[:] = _squares(block, "references")
        return known

    def exact(self, queries: Rows, references: Rows, scores: NDArray[Any]) -> Distances:  # noqa: ARG002 - as all
        """From the differences, in float64."""
        found = np.empty(len(queries))
        for start in range(0, len(queries), _EXACT_ROWS):
            part = slice(start, start + _EXACT_ROWS)
            apart = self._queries[queries[part]].astype(np.float64) - self._references[references[part]]
            found[part] = np.einsum("ij,ij->i", apart, apart)
        return found


def _squares(block: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    """|x|^2 of every row; refuses rows that are not finite."""
    squares: NDArray[np.float32] = np.einsum("ij,ij->i", block, block)
    if not np.isfinite(squares).all():
        raise DataFormatError(
            f"The features of the {what} have {int((~np.isfinite(squares)).sum()):,} rows that are not finite.",
            hint="Leave such rows out: they have no distance to anything.",
        )
    return squares


class PixelL2:
    """Squared Euclidean distance of pixels, exact: products of float32 whose sums fit float32, added up in float64.

    Args:
        queries: parts of uint8 (images, side, side, 3), one behind the other.
        references: parts alike.
    """

    reference_rows = 1 << 10

    def __init__(self, queries: Sequence[Pixels], references: Sequence[Pixels]) -> None:
        self._queries, self._references = Stack(queries), Stack(references)
        self.queries, self.references = len(self._queries), len(self._references)

    def scores(self, first: slice, second: slice) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """The distances themselves."""
        products = np.zeros((first.stop - first.start, second.stop - second.start))
        squares = [np.zeros(len(products)), np.zeros(products.shape[1])]
        for start in range(0, self._queries.values, _EXACT_TERMS):
            columns = slice(start, start + _EXACT_TERMS)
            one, other = _centred(self._queries, first, columns), _centred(self._references, second, columns)
            products += one @ other.T
            squares[0] += np.einsum("ij,ij->i", one, one)
            squares[1] += np.einsum("ij,ij->i", other, other)
        products *= -2
        products += squares[0][:, None]
        products += squares[1]
        return products, np.zeros(len(products))

    def exact(self, queries: Rows, references: Rows, scores: NDArray[Any]) -> Distances:  # noqa: ARG002 - as all
        """The scores."""
        return scores


def _centred(stack: Stack, rows: slice, columns: slice) -> NDArray[np.float32]:
    values = stack.block(rows, columns).astype(np.float32)
    values -= _CENTRE
    return values


class Stack:
    """Images of several arrays, known by their position in all, each a row of bytes."""

    def __init__(self, parts: Sequence[Pixels]) -> None:
        self._parts = [part.reshape(len(part), -1) for part in parts if len(part)]
        self._edges = np.concatenate([[0], np.cumsum([len(part) for part in self._parts], dtype=np.int64)])
        self.values = self._parts[0].shape[1] if self._parts else 0

    def __len__(self) -> int:
        return int(self._edges[-1])

    def block(self, rows: slice, columns: slice = slice(None)) -> NDArray[np.uint8]:
        """Some columns of neighbouring rows."""
        found = []
        for part, low in zip(self._parts, self._edges[:-1].tolist(), strict=True):
            inside = part[max(0, rows.start - low) : max(0, rows.stop - low), columns]
            if len(inside):
                found.append(inside)
        return found[0] if len(found) == 1 else np.concatenate(found)


class Dssim:
    """(1 - SSIM) / 2, pair by pair; window sums are of whole numbers, and so exact.

    Args:
        queries: parts of uint8 (images, side, side, 3).
        references: parts alike.
        window: side of the window: odd, from 3 to the images' side.

    Raises:
        UsageError: the window is out of range.
    """

    reference_rows = 1 << 4

    def __init__(self, queries: Sequence[Pixels], references: Sequence[Pixels], window: int = WINDOW) -> None:
        self._side = queries[0].shape[1]
        if not 3 <= window <= self._side or window % 2 == 0:
            raise UsageError(f"--window {window} is not an odd number from 3 to {self._side}, the side of the images.")
        self._window = window
        self._queries, self._references = Stack(queries), Stack(references)
        self.queries, self.references = len(self._queries), len(self._references)

    def scores(self, first: slice, second: slice) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """The distances themselves."""
        found = np.empty((first.stop - first.start, second.stop - second.start))
        references = [_Windows(image, self._window) for image in self._images(self._references, second)]
        for row in range(len(found)):
            place = first.start + row
            query = _Windows(self._images(self._queries, slice(place, place + 1))[0], self._window)
            for column, reference in enumerate(references):
                found[row, column] = query.dssim(reference)
        return found, np.zeros(len(found))

    def exact(self, queries: Rows, references: Rows, scores: NDArray[Any]) -> Distances:  # noqa: ARG002 - as all
        """The scores."""
        return scores

    def _images(self, stack: Stack, rows: slice) -> NDArray[np.int64]:
        """Channel by channel, so that windows are sums of what lies side by side."""
        images = stack.block(rows).reshape(-1, self._side, self._side, 3)
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.int64)


class _Windows:
    """What SSIM asks of one image (3, side, side): means and variances of every window that lies inside it."""

    def __init__(self, image: NDArray[np.int64], window: int) -> None:
        self._image, self._window, self._count = image, window, window * window
        self.means = self._sums(image) / self._count
        self.variances = self._covariance(self._sums(image * image), self.means * self.means)

    def dssim(self, other: _Windows) -> float:
        means = self.means * other.means
        covariances = self._covariance(self._sums(self._image * other._image), means)
        above = (2 * means + _C1) * (2 * covariances + _C2)
        below = (self.means**2 + other.means**2 + _C1) * (self.variances + other.variances + _C2)
        return float((1 - (above / below).mean()) / 2)

    def _covariance(self, sums: NDArray[np.int64], means: Distances) -> Distances:
        covariance: Distances = (sums / self._count - means) * (self._count / (self._count - 1))
        return covariance

    def _sums(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        return _running(_running(values, self._window, 2), self._window, 1)


def _running(values: NDArray[np.int64], window: int, axis: int) -> NDArray[np.int64]:
    """Sums of ``window`` neighbours along an axis."""
    sums = np.cumsum(values, axis=axis)
    ends = np.moveaxis(sums, axis, 0)[window - 1 :].copy()
    ends[1:] -= np.moveaxis(sums, axis, 0)[:-window]
    return np.moveaxis(ends, 0, axis)
