"""Small datasets whose numbers can be worked out by hand."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from competition.data.metadata import write_metadata
from competition.data.shards import Sample, write_shard
from competition.data.uids import parse_uids, save_subset, sort_uids

HOSTILE = "<script>alert(1)</script><img src=http://x.invalid/>\x00\x1b[31m\u202e" + "A" * 5000
CAPTIONS = ["a dog", "two  dogs run", HOSTILE, "", "ein Hund läuft durch den Wald", "le chien est noir"]
WIDTHS = [100, 300, 200, 64, 1000, None]
HEIGHTS = [100, 100, 400, 64, 500, 10]
SCORES = [0.1, 0.2, 0.3, None, 0.25, float("nan")]
SHA = ["a" * 64, "a" * 64, "b" * 64, "c" * 64, "a" * 64, None]
VECTORS = np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [np.nan, 0, 0]], dtype=np.float32)


def uid(number: int) -> str:
    return f"{number:032x}"


def picture(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40 + number, 30), (40 * number % 256, 90, 200)).save(stream, "PNG")
    return stream.getvalue()


def write_pool(folder: Path, *, features: bool = True, shards: bool = True, cut: int = 4) -> Path:
    """Rows 0 to 5 in two metadata files and two shards; the image of row 3 is damaged."""
    for number, rows in enumerate((range(cut), range(cut, 6))):
        columns: dict[str, Sequence[Any]] = {
            "uid": [uid(row) for row in rows],
            "url": [""] * len(rows),
            "text": [CAPTIONS[row] for row in rows],
            "original_width": [WIDTHS[row] for row in rows],
            "original_height": [HEIGHTS[row] for row in rows],
            "clip_b32_similarity_score": [SCORES[row] for row in rows],
            "clip_l14_similarity_score": [SCORES[row] for row in rows],
            "face_bboxes": [[]] * len(rows),
            "sha256": [SHA[row] for row in rows],
        }
        arrays = {"l14_img": VECTORS[list(rows)], "dedup": VECTORS[list(rows)]} if features else None
        write_metadata(folder / "metadata", f"{number:032x}", columns, arrays)
    if shards:
        (folder / "shards").mkdir(parents=True)
        for number, rows in enumerate((range(0, 6, 2), range(1, 6, 2))):
            write_shard(folder / "shards", number, [sample(row) for row in rows])
    return folder


def sample(row: int, **more: Any) -> Sample:
    """A sample of a shard as img2dataset writes it."""
    said: Mapping[str, Any] = {
        "uid": uid(row),
        "original_width": WIDTHS[row],
        "original_height": HEIGHTS[row],
        "sha256": SHA[row],
        **more,
    }
    image = b"no picture" if row == 3 else picture(row)
    members = {"png": image, "json": json.dumps(said).encode(), "txt": CAPTIONS[row].encode()}
    return Sample(f"{row:09d}", members)


def write_subset(path: Path, rows: Sequence[int]) -> Path:
    save_subset(path, sort_uids(parse_uids([uid(row) for row in rows])))
    return path


def write_vectors(path: Path, vectors: Sequence[Sequence[float]]) -> Path:
    rows = np.array(vectors, dtype=np.float32)
    np.save(path, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return path
