"""Small pools for tests of deduplication: metadata with features, and shards with pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from competition.data.metadata import write_metadata
from competition.data.shards import Sample, write_shard

SCORE = "clip_l14_similarity_score"


def uid(number: int) -> str:
    return f"{number:032x}"


def write_file(
    folder: Path, file: int, numbers: Sequence[int], features: Mapping[str, NDArray[Any]], **columns: Sequence[Any]
) -> Path:
    """One metadata file whose rows have these uids; columns that are not given are the same everywhere."""
    count = len(numbers)
    rows: dict[str, Any] = {
        "uid": [uid(number) for number in numbers],
        "url": [""] * count,
        "text": ["a"] * count,
        "original_width": [10] * count,
        "original_height": [10] * count,
        "clip_b32_similarity_score": [0.1] * count,
        SCORE: [0.1] * count,
        "face_bboxes": [[]] * count,
        "sha256": [f"{number:064x}" for number in numbers],
    }
    return write_metadata(folder, f"{file:032x}", {**rows, **columns}, features)


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def picture(seed: int, side: int = 48) -> NDArray[np.uint8]:
    """A smooth colour picture that no other seed gives."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def write_shards(folder: Path, images: Mapping[int, bytes | None], shards: int = 2) -> None:
    """Samples by uid, in turn to the shards; ``None`` is a sample without an image."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        samples = []
        for number, data in list(images.items())[shard::shards]:
            members = {"json": json.dumps({"uid": uid(number)}).encode(), "txt": b"a"}
            samples.append(Sample(f"{number:09d}", members if data is None else {"png": data, **members}))
        write_shard(folder, shard, samples)
