"""What stands for a target set: its features' k-means centroids, as SimCore makes them."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RESTARTS = 10
"""``n_init`` of the scikit-learn that SimCore was written for; later ones have another default."""
RANDOM_STATE = 0


def target_centroids(targets: Floats, clusters: int) -> Floats:
    """Centroids of length 1: float32 of shape (clusters, dimensions), or the targets where these are not more.

    Args:
        targets: (rows, dimensions), of length 1.
        clusters: from 1.
    """
    if clusters >= len(targets):
        return unit(targets)
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():  # of fewer different points than clusters, which does no harm
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = KMeans(clusters, random_state=RANDOM_STATE, n_init=RESTARTS).fit(targets)
    return unit(fitted.cluster_centers_)


def unit(vectors: NDArray[np.float32]) -> Floats:
    """Rows divided by their length."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, np.float32(1e-12)), dtype=np.float32)
