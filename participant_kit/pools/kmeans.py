"""k-means as Faiss does it (Johnson et al., 2019), step by step: on processors by Faiss itself, on a GPU by PyTorch.

L2 distances in float32, all points in every iteration (no subsampling, however many points a cluster has), first
centres drawn from the points by Faiss's own generator, a cluster without points replaced by half of a large one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.errors import UsageError
from participant_kit.subsets.centroids import gpu_device

Floats = NDArray[np.float32]
Told = Callable[[int], None]
"""Called with the number of finished iterations."""

MAX_POINTS_PER_CENTROID = 10_000_000
_SPLIT_SEED = 1234
_SPLIT_STEP = np.float32(1 / 1024)
_BLOCK_SCORES = 1 << 28


def kmeans(
    points: Floats, clusters: int, iterations: int, seed: int, told: Told = lambda _: None
) -> tuple[Floats, str]:
    """Cluster centres, and what computed them.

    Args:
        points: (rows, dimensions) float32, C order, finite.
        clusters: at most as many as rows.
        iterations: at least 1.
        seed: of the first centres.
        told: progress.

    Returns:
        float32 of shape (clusters, dimensions), and for instance "faiss 1.15.1". Points in the same order give the same
        centres on the same machine; the last digits depend on the machine's matrix product.

    Raises:
        UsageError: fewer points than clusters.
    """
    if len(points) < clusters:
        raise UsageError(
            f"There are {len(points):,} images for {clusters:,} clusters.",
            hint="Ask for fewer with --num-clusters, or use more images.",
        )
    faiss = _faiss()
    device = gpu_device()
    if device is not None and not faiss.get_num_gpus():
        torch = import_module("torch")
        first = first_centres(points, clusters, seed)
        return kmeans_on(device, points, first, iterations, told), f"torch {torch.__version__} on a GPU"
    return _kmeans_by_faiss(faiss, points, clusters, iterations, seed, told), f"faiss {faiss.__version__}"


def _kmeans_by_faiss(faiss: Any, points: Floats, clusters: int, iterations: int, seed: int, told: Told) -> Floats:
    """One iteration a call, which goes on from the centres of the last one, gives what all in one call would."""
    dimensions = points.shape[1]
    index = faiss.IndexFlatL2(dimensions)
    if faiss.get_num_gpus():
        index = faiss.index_cpu_to_all_gpus(index)
    clustering = faiss.Clustering(dimensions, clusters)
    clustering.seed = seed
    clustering.niter = 1
    clustering.min_points_per_centroid = 1
    clustering.max_points_per_centroid = MAX_POINTS_PER_CENTROID
    for done in range(1, iterations + 1):
        index.reset()
        clustering.train(points, index)
        told(done)
    centres: Floats = faiss.vector_float_to_array(clustering.centroids).reshape(clusters, dimensions).copy()
    return centres


def first_centres(points: Floats, clusters: int, seed: int) -> Floats:
    """The points that Faiss starts from."""
    faiss = _faiss()
    order = np.empty(len(points), dtype=np.int32)
    faiss.rand_perm(faiss.swig_ptr(order), len(points), seed + 1)
    return points[order[:clusters]]


def kmeans_on(device: str, points: Floats, first: Floats, iterations: int, told: Told = lambda _: None) -> Floats:
    """The same algorithm by PyTorch on a device, from given first centres; sums are in float64."""
    torch = import_module("torch")
    centres, clusters = first.copy(), len(first)
    step = max(1, _BLOCK_SCORES // clusters)
    for done in range(1, iterations + 1):
        current = torch.from_numpy(centres).to(device)
        half_norms = (current.double() ** 2).sum(dim=1).float() / 2
        sums = torch.zeros(centres.shape, dtype=torch.float64, device=device)
        counts = torch.zeros(clusters, dtype=torch.int64, device=device)
        for start in range(0, len(points), step):
            block = torch.from_numpy(points[start : start + step]).to(device)
            # The nearest centre has the largest <x, c> - |c|^2 / 2.
            labels = (block @ current.T - half_norms).argmax(dim=1)
            sums.index_add_(0, labels, block.double())
            counts += torch.bincount(labels, minlength=clusters)
        members = counts.cpu().numpy()
        means = sums.cpu().numpy() / np.maximum(members, 1)[:, None]
        centres = np.where(members[:, None] > 0, means, centres).astype(np.float32)
        split_for_empty(centres, members)
        told(done)
    return centres


def split_for_empty(centres: Floats, members: NDArray[np.int64]) -> None:
    """Give every empty cluster half of another, drawn by its number of points; both centres move apart a little."""
    generator = np.random.default_rng(_SPLIT_SEED)
    for empty in np.flatnonzero(members == 0):
        surplus = np.maximum(members - 1, 0).astype(np.float64)
        full = generator.choice(len(members), p=surplus / surplus.sum())
        centres[empty] = centres[full]
        centres[empty, 0::2] *= 1 + _SPLIT_STEP
        centres[empty, 1::2] *= 1 - _SPLIT_STEP
        centres[full, 0::2] *= 1 - _SPLIT_STEP
        centres[full, 1::2] *= 1 + _SPLIT_STEP
        members[empty] = members[full] // 2
        members[full] -= members[empty]


def _faiss() -> Any:
    with warnings.catch_warnings():  # of SWIG's types, on import
        warnings.simplefilter("ignore", DeprecationWarning)
        return import_module("faiss")
