"""Clustered vectors of length 1, and files of them in every form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def clustered(rows: int, dimensions: int, clusters: int = 50, noise: float = 0.8, seed: int = 0) -> np.ndarray:
    """Each row is one of some random directions and noise, in float32."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((clusters, dimensions))
    vectors = centres[generator.integers(0, clusters, rows)] + noise * generator.standard_normal((rows, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def save(path: Path, vectors: np.ndarray, *, fixed: bool = True) -> Path:
    """As npz (member ``l14_img`` beside another), npy or parquet (column ``l14_img``), by the path's suffix."""
    if path.suffix == ".npz":
        np.savez(path, l14_txt=vectors[:, ::-1], l14_img=vectors)
    elif path.suffix == ".npy":
        np.save(path, vectors)
    else:
        flat = pa.array(vectors.reshape(-1))
        lists = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]) if fixed else pa.array(list(vectors))
        pq.write_table(pa.table({"n": range(len(vectors)), "l14_img": lists}), path, row_group_size=37)
    return path
