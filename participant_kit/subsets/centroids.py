"""Cluster centres, and which of them an image belongs to: the one with the largest inner product, as in DataComp.

The k-means that made the centres minimised L2 distances, but DataComp assigns by inner product with the centres as they
are, not normalised; about a quarter of all images would fall into another cluster by distance or by cosine.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.npy import map_npy
from competition.data.workers import one_thread_a_worker
from competition.errors import DataFormatError

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Search = Callable[[Floats, Floats, NDArray[Any]], tuple[Labels, dict[int, Labels]]]

_BLOCK_SCORES = 1 << 24
"""Inner products held at a time: 64 MB."""

_RIVALS = 8
_GPU_DRIVER = Path("/proc/driver/nvidia/version")


@lru_cache(maxsize=2)
def load_centroids(path: Path) -> Floats:
    """Centres of shape (clusters, dimensions), float32, from a ``.npy``; one copy a process.

    Raises:
        DataFormatError: it is not a plain 2-D array of finite floats.
        StorageError: it cannot be read.
    """
    centroids = np.ascontiguousarray(load_matrix(path), dtype=np.float32)
    if not len(centroids) or not np.isfinite(centroids).all():
        raise DataFormatError(f"The centroids {path} are empty or not all finite.")
    return centroids


def nearest_centroids(points: NDArray[Any], centroids: Floats) -> Labels:
    """The cluster of each point: the centre with the largest inner product, the first one of equals.

    Products are computed in float32. Where the two largest are closer than float32 can tell for certain, those in
    question are computed again in float64, so that the answer depends neither on how the points are cut into blocks
    nor on the machine's matrix product.

    Args:
        points: (rows, dimensions), any float type, finite.
        centroids: (clusters, dimensions).

    Returns:
        int64 of shape (rows,).
    """
    with one_thread_a_worker():
        return _nearest(points, centroids)


def _nearest(points: NDArray[Any], centroids: Floats) -> Labels:
    labels = np.empty(len(points), dtype=np.int64)
    size = float(np.sqrt(np.einsum("ij,ij->i", centroids, centroids).max()))
    device = gpu_device()
    largest = _largest if device is None else _largest_on(device, centroids)
    step = max(1, _BLOCK_SCORES // len(centroids))
    for start in range(0, len(points), step):
        block = np.asarray(points[start : start + step], dtype=np.float32)
        # A float32 inner product is off by less than dimensions * eps * |point| * |centre|, in whatever order it sums.
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        unsure = 2 * block.shape[1] * np.finfo(np.float32).eps * lengths * size
        best, rivals = largest(block, centroids, unsure)
        for row, others in rivals.items():
            exact = (centroids[others].astype(np.float64) * block[row].astype(np.float64)).sum(axis=1)
            best[row] = others[exact.argmax()]
        labels[start : start + step] = best
    return labels


def check_features(features: NDArray[Any], centroids: Floats, what: str, source: Path) -> None:
    """Refuse features that cannot be compared with the centres.

    Raises:
        DataFormatError: other dimensions, or not floats.
    """
    if features.ndim != 2 or features.shape[1] != centroids.shape[1] or features.dtype.kind != "f":
        raise DataFormatError(
            f"{what} have shape {features.shape} and type {features.dtype}, which does not fit the centroids "
            f"{source.name} of shape {centroids.shape}.",
            hint="Features and centroids must come from the same CLIP model.",
        )


def _largest(block: Floats, centroids: Floats, unsure: NDArray[Any]) -> tuple[Labels, dict[int, Labels]]:
    """Position of each point's largest product; and for those with further ones within ``unsure``, all of them."""
    rows = np.arange(len(block))
    scores = block @ centroids.T
    best = scores.argmax(axis=1)
    highest = scores[rows, best]
    scores[rows, best] = -np.inf
    second = scores.max(axis=1)
    scores[rows, best] = highest
    close = np.flatnonzero(highest - second <= unsure)
    return best, {int(row): np.flatnonzero(scores[row] >= highest[row] - unsure[row]) for row in close}


def _largest_on(device: str, centroids: Floats) -> Search:
    """``_largest`` by PyTorch on a device, in full float32; only the few largest products come back."""
    import torch

    columns = torch.from_numpy(centroids).to(device).T

    def search(block: Floats, _: Floats, unsure: NDArray[Any]) -> tuple[Labels, dict[int, Labels]]:
        with torch.no_grad():
            found = (torch.from_numpy(block).to(device) @ columns).topk(min(_RIVALS, len(centroids)), dim=1)
        values, positions = found.values.cpu().numpy(), found.indices.cpu().numpy()
        within = values >= values[:, :1] - unsure[:, None]
        rivals = {int(row): np.sort(positions[row][within[row]]) for row in np.flatnonzero(within.sum(axis=1) > 1)}
        # Where all that were looked at are close there may be more.
        return positions[:, 0].copy(), {r: _all(centroids) if within[r].all() else near for r, near in rivals.items()}

    return search


def _all(centroids: Floats) -> Labels:
    return np.arange(len(centroids))


@lru_cache(maxsize=1)
def gpu_device() -> str | None:
    """The GPU that PyTorch sees, if any; PyTorch is not imported where there is no driver."""
    if not _GPU_DRIVER.exists() or find_spec("torch") is None:
        return None
    import torch

    return f"cuda:{os.getpid() % torch.cuda.device_count()}" if torch.cuda.is_available() else None


def load_matrix(path: Path) -> NDArray[Any]:
    """A memory map of a ``.npy``.

    Raises:
        DataFormatError: it is not a plain two-dimensional array of floats.
        StorageError: it cannot be read.
    """
    array = map_npy(path)
    if array.ndim != 2 or array.dtype.kind != "f":
        raise DataFormatError(f"{path} is not a .npy of one two-dimensional array of floats.")
    return array
