"""Metadata rows and features of finished shards, from their images, captions and logs alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from competition.catalog.digits.rendering import decode
from competition.data.metadata import SCHEMA, write_metadata
from competition.data.shards import read_samples
from competition.evaluation.copy_descriptors import Floats, copy_descriptors, orthonormal
from competition.evaluation.encoders import ClipEncoder
from participant_kit.pools.annotate.pairs import encode_pairs
from participant_kit.pools.digits.score_model import prepare

DIMENSIONS = {"b32": 512, "l14": 768}


def write_shard_metadata(
    directory: Path, stem: str, shards: Iterable[Path], encoders: Mapping[str, ClipEncoder]
) -> int:
    """Write parquet and npz of some shards, rows in the order of the shards' samples; returns the number of rows."""
    images: list[Image.Image] = []
    rows: list[dict[str, Any]] = []
    for shard in shards:
        for sample in read_samples(shard):
            images.append(decode(sample.members["jpg"]))
            rows.append(json.loads(sample.members["json"]))
    scores, features = score_pairs(images, [row["caption"] for row in rows], encoders)
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in SCHEMA.names if name in rows[0]}
    columns |= {
        "text": [row["caption"] for row in rows],
        "clip_b32_similarity_score": scores["b32"],
        "clip_l14_similarity_score": scores["l14"],
    }
    write_metadata(directory, stem, columns, features)
    return len(rows)


def score_pairs(
    images: list[Image.Image], texts: list[str], encoders: Mapping[str, ClipEncoder]
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """CLIP scores and features of pairs.

    Returns:
        By role (``b32``, ``l14``), the cosine of image and text, float32 (n,); and the arrays of a DataComp npz, by
        member: L2-normalised features (n, 512) and (n, 768), descriptors ``dedup`` (n, 256).
    """
    pixels = np.stack([prepare(image) for image in images])
    scores: dict[str, Floats] = {}
    features: dict[str, Floats] = {}
    for role, encoder in encoders.items():
        pairs = encode_pairs(encoder, pixels, texts)
        scores[role] = pairs.scores
        basis = orthonormal(pairs.images.shape[1], DIMENSIONS[role])
        features[f"{role}_img"], features[f"{role}_txt"] = pairs.images @ basis, pairs.texts @ basis
    features["dedup"] = copy_descriptors(images)
    return scores, features
