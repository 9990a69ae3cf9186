"""A small pool with captions and features, and the classes that it holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from competition.data.metadata import write_metadata

DIMENSIONS = 16
NAMES = [["tench", "Tinca tinca"], ["crane", "heron"], ["crane", "tower crane"], ["desk"]]
WORDS = ["a photo of", "tench", "Tinca tinca", "heron", "crane", "tower crane", "desk", "desks", "and", "Tench!"]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_classes(path: Path, names: Sequence[Sequence[str]] = NAMES) -> Path:
    """Classes "c0", "c1", ... with a prompt of their own and another."""
    entries = [
        {"id": f"c{number}", "names": list(own), "definition": f"thing {number}", "prompts": ["a {}", "the {}"]}
        for number, own in enumerate(names)
    ]
    path.write_text(json.dumps(entries))
    return path


def rows(count: int, seed: int = 0) -> dict[str, Any]:
    """Uids (some of them twice), captions, and features of two models; every seventh row has none."""
    generator = np.random.default_rng(seed)
    uids = [generator.bytes(16).hex() for _ in range(count)]
    for row in range(5, count, 11):
        uids[row] = uids[row - 3]
    captions = [" ".join(generator.choice(WORDS, size=generator.integers(0, 5))) for _ in range(count)]
    features = {
        member: unit(generator.normal(size=(count, DIMENSIONS))).astype(np.float16) for member in ("b32_txt", "l14_img")
    }
    for values in features.values():
        values[3::7] = values[2 : len(values) - 1 : 7][: len(values[3::7])]
        values[6::7] = np.nan
    return {"uid": uids, "text": captions, **features}


def write_pool(folder: Path, pool: dict[str, Any], cuts: Sequence[int] = (), order: Sequence[int] = ()) -> Path:
    """Metadata of these rows, cut into files at ``cuts``; ``order`` names the files anew."""
    count = len(pool["uid"])
    bounds = sorted({0, count, *(cut for cut in cuts if cut < count)})
    for number, (start, stop) in enumerate(pairwise(bounds)):
        name = order[number] if number < len(order) else number
        columns = {
            "uid": pool["uid"][start:stop],
            "url": [""] * (stop - start),
            "text": pool["text"][start:stop],
            "original_width": [64] * (stop - start),
            "original_height": [64] * (stop - start),
            "clip_b32_similarity_score": [0.3] * (stop - start),
            "clip_l14_similarity_score": [0.3] * (stop - start),
            "face_bboxes": [[]] * (stop - start),
            "sha256": ["0" * 64] * (stop - start),
        }
        features = {member: pool[member][start:stop] for member in ("b32_txt", "l14_img")}
        write_metadata(folder, f"{name:032x}", columns, features)
    return folder


def write_features(path: Path, count: int, seed: int = 1, dimensions: int = DIMENSIONS) -> Path:
    np.save(path, unit(np.random.default_rng(seed).normal(size=(count, dimensions))).astype(np.float32))
    return path
