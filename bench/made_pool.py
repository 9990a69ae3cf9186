"""A pool like DataComp's, of any size, made by chance from a seed: what the benchmarks of pools measure on.

Metadata has DataComp's columns; shards are img2dataset's and hold the first rows of each metadata file. A payload is
random bytes between a JPEG's first and last markers: nothing here decodes an image. Made once, kept under ``build/``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.random import Generator
from numpy.typing import NDArray

from bench.captions import captions
from competition.data.metadata import SCHEMA
from competition.data.shards import Sample, write_shard

CACHE = Path("build") / "bench"
GENERATOR_VERSION = 1
"""Raised whenever the same recipe gives another pool, so that a cached one is not taken for it."""

_JPEG_START, _JPEG_END = bytes.fromhex("ffd8ffe000104a46494600010100000100010000"), b"\xff\xd9"
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_NOTABLE_UIDS = ("0" * 32, "f" * 32, "8" + "0" * 31, "0" * 31 + "1")


@dataclass(frozen=True, slots=True)
class PoolRecipe:
    """Everything that a made pool depends on.

    Args:
        files: metadata files.
        rows: in each of them.
        shards: tars; the n-th holds samples of the n-th metadata file.
        samples: in each tar; at most ``rows``.
        image_bytes: mean size of an image.
        seed: of everything random.
    """

    files: int = 8
    rows: int = 125_000
    shards: int = 8
    samples: int = 2_000
    image_bytes: int = 34_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class MadePool:
    """Where a made pool lies."""

    root: Path

    @property
    def metadata(self) -> Path:
        """The folder of parquet files."""
        return self.root / "metadata"

    @property
    def shards(self) -> Path:
        """The folder of tars."""
        return self.root / "shards"


def make_pool(recipe: PoolRecipe, cache: Path = CACHE) -> MadePool:
    """The pool of a recipe, from the cache if it was made before."""
    key = json.dumps([GENERATOR_VERSION, asdict(recipe)], sort_keys=True)
    pool = MadePool(cache / f"pool-{hashlib.sha256(key.encode()).hexdigest()[:12]}")
    if not pool.root.exists():
        unfinished = MadePool(pool.root.with_suffix(".partial"))
        shutil.rmtree(unfinished.root, ignore_errors=True)
        unfinished.metadata.mkdir(parents=True)
        unfinished.shards.mkdir()
        for index in range(max(recipe.files, recipe.shards)):
            _make_part(unfinished, recipe, index)
        unfinished.root.rename(pool.root)
    return pool


def _make_part(pool: MadePool, recipe: PoolRecipe, index: int) -> None:
    """One metadata file and the shard of its first rows."""
    generator = np.random.default_rng([recipe.seed, index])
    table = _rows(generator, recipe.rows)
    if index < recipe.files:
        stem = hashlib.md5(str(index).encode(), usedforsecurity=False).hexdigest()
        pq.write_table(table, pool.metadata / f"{stem}.parquet")
    if index < recipe.shards:
        samples = _samples(generator, table.slice(0, recipe.samples), index, recipe.image_bytes)
        write_shard(pool.shards, index, samples, {"count": recipe.samples, "failed_to_download": 0})


def _rows(generator: Generator, count: int) -> pa.Table:
    width, height = _sizes(generator, count)
    b32, l14 = _scores(generator, count)
    urls = pc.binary_join_element_wise(
        "https://images-", _hex(generator, count, 2), ".example.org/", _hex(generator, count, 20), ".jpg", ""
    )
    columns = {
        "uid": _uids(generator, count),
        "url": urls,
        "text": captions(generator, count),
        "original_width": width,
        "original_height": height,
        "clip_b32_similarity_score": b32,
        "clip_l14_similarity_score": l14,
        "face_bboxes": _boxes(generator, count),
        "sha256": _hex(generator, count, 64),
    }
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


def _uids(generator: Generator, count: int) -> Any:
    """Random, but for the least and greatest ones, and a few that occur twice."""
    uids = _hex(generator, count, 32)
    source = np.arange(count)
    source[1000::5000] = 999 if count > 999 else 0
    uids = uids.take(pa.array(source))
    notable = pa.array(_NOTABLE_UIDS[:count])
    return pa.concat_arrays([notable, uids.slice(len(notable))])


def _hex(generator: Generator, count: int, digits: int) -> Any:
    """Random hex strings as an Arrow array, made in its buffers."""
    letters = _HEX[generator.integers(0, 16, count * digits, dtype=np.uint8)]
    offsets = np.arange(0, (count + 1) * digits, digits, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(letters))


def _sizes(generator: Generator, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels, with sides and aspects on and beside the filters' edges (200 px; 3 to 1), and some sizes missing (0)."""
    width = np.clip(generator.lognormal(6.2, 0.7, count), 1, 12_000).astype(np.int64)
    height = np.clip(width * generator.lognormal(-0.15, 0.4, count), 1, 12_000).astype(np.int64)
    for edge, (w, h) in enumerate([(200, 200), (199, 640), (200, 600), (200, 601), (0, 0), (0, 500), (1200, 400)]):
        rows = slice(edge, None, 500)
        width[rows], height[rows] = w, h
    return width, height


def _scores(generator: Generator, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Correlated cosines around 0.2; one in five is rounded, so that many tie; one in 300 is missing (NaN)."""
    shared = generator.normal(0, 1, count)
    scores = []
    for mean in (0.25, 0.20):
        score = mean + 0.05 * (0.8 * shared + 0.6 * generator.normal(0, 1, count))
        rounded = generator.random(count) < 0.2
        score[rounded] = score[rounded].round(3)
        score[generator.random(count) < 1 / 300] = np.nan
        scores.append(score.astype(np.float32))
    return scores[0], scores[1]


def _boxes(generator: Generator, count: int) -> Any:
    """No face on most images, up to three on the others; four numbers a face."""
    faces = generator.choice(4, size=count, p=[0.8, 0.14, 0.04, 0.02])
    ends = np.concatenate([[0], np.cumsum(faces)]).astype(np.int32)
    corners = np.sort(generator.random((int(ends[-1]), 2, 2)), axis=1).reshape(-1)
    box = pa.ListArray.from_arrays(pa.array(np.arange(0, len(corners) + 1, 4, dtype=np.int32)), pa.array(corners))
    return pa.ListArray.from_arrays(pa.array(ends), box)


def _samples(generator: Generator, rows: pa.Table, shard: int, image_bytes: int) -> Iterator[Sample]:
    """img2dataset's members of these rows."""
    for index, row in enumerate(rows.to_pylist()):
        key = f"{shard:08d}{index:04d}"
        size = max(200, int(generator.normal(image_bytes, image_bytes / 3)))
        facts = {
            name: row[name] for name in ("uid", "face_bboxes", "url", "original_width", "original_height", "sha256")
        }
        facts |= {"caption": row["text"], "key": key, "status": "success", "error_message": None}
        facts |= {"width": 512, "height": 384, "exif": "{}"}
        image = _JPEG_START + generator.bytes(size) + _JPEG_END
        yield Sample(key, {"jpg": image, "json": json.dumps(facts).encode(), "txt": row["text"].encode()})
