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
from competition.evaluation.encoders import ClipEncoder
from participant_kit.pools.annotate.descriptors import DEDUP_DIMENSIONS, Floats, orthonormal
from participant_kit.pools.annotate.pairs import encode_pairs
from participant_kit.pools.digits.score_model import prepare

DIMENSIONS = {"b32": 512, "l14": 768}

_THUMBNAIL = 16


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


def copy_descriptors(images: list[Image.Image]) -> Floats:
    """Descriptors in which copies of one picture lie close together: float32 (n, 256), L2-normalised.

    A 16x16 thumbnail without its mean colour, in a fixed orthonormal projection. Stands for DataComp's ISC21
    descriptor; a picture without any contrast has a zero descriptor.
    """
    size = (_THUMBNAIL, _THUMBNAIL)
    thumbnails = np.stack([np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float32) for image in images])
    centred = thumbnails - thumbnails.mean(axis=(1, 2), keepdims=True)
    points = centred.reshape(len(images), -1) @ orthonormal(DEDUP_DIMENSIONS, centred[0].size).T
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    normalised: Floats = (points / np.maximum(lengths, 1e-6)).astype(np.float32)
    return normalised
