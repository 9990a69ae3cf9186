"""A small sound pool in DataComp's layout whose every byte is known; tests break one thing of it at a time."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from competition.data.metadata import write_metadata
from competition.data.shards import Sample, write_shard

SHARDS, SAMPLES = 3, 40
FAILED = 3
"""Downloads that failed, in each shard: metadata rows and log rows without a sample."""


def jpeg(seed: int, side: int = 48) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((side + 16, side)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def uid(number: int) -> str:
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def facts(number: int, data: bytes) -> dict[str, Any]:
    return {
        "uid": uid(number),
        "face_bboxes": [[0.1, 0.1, 0.5, 0.5]] if number % 7 == 0 else [],
        "caption": f"a photo of number {number}",
        "url": f"http://host/{number}.jpg",
        "key": f"{number // SAMPLES:08d}{number % SAMPLES:04d}",
        "status": "success",
        "width": 64,
        "height": 48,
        "original_width": 64,
        "original_height": 48,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def samples(shard: int) -> list[Sample]:
    """Those that were downloaded, with the original bytes as image."""
    made = []
    for number in range(shard * SAMPLES, (shard + 1) * SAMPLES - FAILED):
        data = jpeg(number)
        found = facts(number, data)
        members = {"jpg": data, "json": json.dumps(found).encode(), "txt": found["caption"].encode()}
        made.append(Sample(found["key"], members))
    return made


def write_log(folder: Path, shard: int) -> None:
    numbers = range(shard * SAMPLES, (shard + 1) * SAMPLES)
    failed = {number for number in numbers if number >= (shard + 1) * SAMPLES - FAILED}
    status = ["failed_to_download" if number in failed else "success" for number in numbers]
    pq.write_table(pa.table({"uid": list(map(uid, numbers)), "status": status}), folder / f"{shard:08d}.parquet")


def write_rows(folder: Path, shard: int, *, features: bool = True) -> Path:
    numbers = range(shard * SAMPLES, (shard + 1) * SAMPLES)
    rows = [facts(number, jpeg(number)) for number in numbers]
    generator = np.random.default_rng(shard)
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("uid", "url", "face_bboxes", "sha256")}
    columns |= {
        "text": [row["caption"] for row in rows],
        "original_width": [64] * SAMPLES,
        "original_height": [48] * SAMPLES,
        "clip_b32_similarity_score": generator.uniform(0, 0.4, SAMPLES).astype(np.float32),
        "clip_l14_similarity_score": generator.uniform(0, 0.4, SAMPLES).astype(np.float32),
    }
    arrays = {"l14_img": generator.random((SAMPLES, 8)), "dedup": generator.random((SAMPLES, 4), dtype=np.float32)}
    return write_metadata(folder, f"{shard:032x}", columns, arrays if features else None)


def write_pool(root: Path) -> Path:
    (root / "shards").mkdir(parents=True)
    for shard in range(SHARDS):
        write_shard(root / "shards", shard, samples(shard))
        write_log(root / "shards", shard)
        write_rows(root / "metadata", shard)
    return root
