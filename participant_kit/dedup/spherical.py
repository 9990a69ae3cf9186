"""Spherical k-means: centres of unit vectors on the unit sphere, as SemDeDup groups images (Abbas et al., 2023)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from participant_kit.subsets.centroids import nearest_centroids

Floats = NDArray[np.float32]

_STEP = 1 << 16


def spherical_kmeans(
    points: Floats, clusters: int, iterations: int, seed: int, told: Callable[[int], None] = lambda _: None
) -> Floats:
    """Centres of length 1, float32 (clusters, dimensions).

    Each point belongs to the centre with the largest inner product, each centre is the direction of its points' sum.
    The first centres are points, drawn; a centre that loses all its points becomes another drawn point.

    Args:
        points: unit rows, float32 (rows, dimensions), at least as many as clusters.
        clusters: at least 1.
        iterations: at least 1.
        seed: of the draws.
        told: called with the number of finished iterations.
    """
    generator = np.random.default_rng(seed)
    centres = points[generator.choice(len(points), clusters, replace=False)].copy()
    for done in range(1, iterations + 1):
        sums, members = np.zeros(centres.shape), np.zeros(clusters, dtype=np.int64)
        for start in range(0, len(points), _STEP):
            block = points[start : start + _STEP]
            labels = nearest_centroids(block, centres)
            order = np.argsort(labels, kind="stable")
            present, firsts = np.unique(labels[order], return_index=True)
            sums[present] += np.add.reduceat(block[order], firsts, axis=0, dtype=np.float64)
            members += np.bincount(labels, minlength=clusters)
        lengths = np.linalg.norm(sums, axis=1)
        lost = np.flatnonzero((members == 0) | (lengths == 0))
        lengths[lost] = 1
        centres = (sums / lengths[:, None]).astype(np.float32)
        centres[lost] = points[generator.choice(len(points), len(lost), replace=False)]
        told(done)
    return centres
