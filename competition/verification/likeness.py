"""How alike two models of one recipe are, told by a small sample of their weights.

A copied checkpoint is a copy still when some noise was added to it. Of two files of the same tensors it is enough to
compare some weights at the same places: independent runs differ by a large part of their size, even from one seed,
and a copy with noise that leaves its scores alone by little. The places depend on a salt that only the scorers know,
so that nobody can change just the weights that are looked at. What this does not see is a copy whose neurons were
permuted; an audit that trains again does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.canonical import digest
from competition.verification.safetensors_file import TensorEntry

SAMPLES = 4096
NEAR = 0.01
"""Relative distance below which two models are near copies: worth a look, and no proof.

Two runs of `digits-nano-clip` from one seed, on other data, differ by 0.009 after 20 of its 1,500 steps and by 0.028
after 60; from another seed by 1.4 at any time.
"""

Sample = NDArray[np.float32]


def weight_sample(path: Path, tensors: dict[str, TensorEntry], salt: bytes) -> Sample:
    """Weights float32 [SAMPLES] of a verified safetensors file, at places that the salt and the shapes decide.

    Only float32 tensors of two axes and more are looked at: biases and norms hardly leave their first values. Where a
    model has no such tensor the sample is of zeros.
    """
    matrices = {
        name: tensor for name, tensor in sorted(tensors.items()) if tensor.dtype == "F32" and len(tensor.shape) > 1
    }
    found = np.zeros(SAMPLES, dtype=np.float32)
    ends = np.cumsum([(tensor.end - tensor.start) // 4 for tensor in matrices.values()])
    if not len(ends) or not ends[-1]:
        return found
    shapes = digest([[name, list(tensor.shape)] for name, tensor in matrices.items()])
    seed = int.from_bytes(hashlib.sha256(salt + shapes.encode("ascii")).digest(), "big")
    places = np.sort(np.random.default_rng(seed).integers(0, ends[-1], SAMPLES))
    begin = 0
    for end, tensor in zip(ends, matrices.values(), strict=True):
        inside = (places >= begin) & (places < end)
        if inside.any():
            weights = np.memmap(path, "<f4", "r", tensor.start, (int(end - begin),))
            found[inside] = weights[places[inside] - begin]
        begin = int(end)
    return found


def relative_distance(first: Sample, second: Sample) -> float:
    """Of two samples of one salt: the length of their difference by that of the longer one; 0 for equal samples."""
    one, other = first.astype(np.float64), second.astype(np.float64)
    scale = max(np.linalg.norm(one), np.linalg.norm(other))
    return float(np.linalg.norm(one - other) / scale) if scale else 0.0
