"""A small pool's metadata with features whose good, bad and duplicate rows are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import write_metadata

KINDS = 8
DIMENSIONS = 64


def unit(vectors: NDArray[Any]) -> NDArray[Any]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_pool(folder: Path, files: int = 3, rows: int = 200, seed: int = 0) -> dict[str, list[str]]:
    """Rows are matched pairs, mismatched pairs, junk captions or near-copies of the row before; uids by sort."""
    generator = np.random.default_rng(seed)
    kinds = unit(generator.standard_normal((KINDS, DIMENSIONS)))
    junk = unit(kinds.sum(axis=0, keepdims=True))[0]
    uids: dict[str, list[str]] = {"matched": [], "mismatched": [], "junk": [], "copy": []}
    for file in range(files):
        sorts = generator.choice(list(uids), size=rows, p=[0.4, 0.3, 0.2, 0.1])
        sorts[0] = "matched"
        # Skewed: the first kind has as many rows as all the others together.
        kind = np.where(generator.random(rows) < 0.5, 0, generator.integers(0, KINDS, rows))
        images = unit(kinds[kind] + 0.15 * generator.standard_normal((rows, DIMENSIONS)))
        texts = unit(kinds[kind] + 0.05 * generator.standard_normal((rows, DIMENSIONS)))
        names = [generator.bytes(16).hex() for _ in range(rows)]
        for row, sort in enumerate(sorts):
            if sort == "mismatched":
                texts[row] = unit(kinds[[(kind[row] + 1) % KINDS]])[0]
            elif sort == "junk":
                texts[row] = junk
            elif sort == "copy":
                images[row], texts[row] = images[row - 1], texts[row - 1]
            uids[sort].append(names[row])
        scores = (images * texts).sum(axis=1).astype(np.float32)
        columns = {
            "uid": names,
            "url": [""] * rows,
            "text": ["a photo of a thing"] * rows,
            "original_width": [256] * rows,
            "original_height": [256] * rows,
            "clip_b32_similarity_score": scores,
            "clip_l14_similarity_score": scores,
            "face_bboxes": [[]] * rows,
            "sha256": ["0" * 64] * rows,
        }
        write_metadata(folder, f"{file:032x}", columns, {"l14_img": images, "l14_txt": texts})
    return uids
