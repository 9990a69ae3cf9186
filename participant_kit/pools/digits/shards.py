"""One shard of the pool as img2dataset leaves it: tar, statistics, and a log with one row for each download."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from competition.catalog.digits.rendering import decode, encode_jpeg, stored
from competition.data.atomic import atomic_writer
from competition.data.shards import Sample, write_shard
from participant_kit.pools.digits.crawl import Find, find

SHARD_SAMPLES = 640
"""Samples of a shard (img2dataset has 10,000; a small pool would have too few shards to spread over workers)."""

LOG_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("face_bboxes", pa.list_(pa.list_(pa.float64()))),
        ("caption", pa.string()),
        ("url", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("original_width", pa.int64()),
        ("original_height", pa.int64()),
        ("exif", pa.string()),
        ("sha256", pa.string()),
    ]
)
"""Columns of img2dataset's log, which are also the entries of a sample's ``json``."""

ANSWER_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("index", pa.int64()),
        ("kind", pa.string()),
        ("digit", pa.int64()),
        ("told", pa.int64()),
        ("source", pa.int64()),
    ]
)
"""Columns of the answer file; see ``crawl.Find``."""


@dataclass(frozen=True)
class ShardTask:
    """What a worker makes: shard ``number`` of a pool, with the finds ``first`` to ``stop - 1``."""

    shards: Path
    answers: Path
    seed: int
    number: int
    first: int
    stop: int


def make_shard(task: ShardTask) -> int:
    """Make one shard and its part of the answers; returns its size in samples.

    Raises:
        StorageError: the disk is full or a folder cannot be written.
    """
    start = datetime.now(UTC)
    finds = [find(task.seed, index) for index in range(task.first, task.stop)]
    samples, rows = [], []
    for place, found in enumerate(finds):
        sample, row = _download(found, f"{task.number:08d}{place:04d}")
        samples.append(sample)
        rows.append(row)
    log = pa.Table.from_pylist(rows, schema=LOG_SCHEMA)
    write_table(task.shards / f"{task.number:08d}.parquet", log)
    answers = [
        {"uid": f.uid, "index": f.index, "kind": f.kind.value, "digit": f.digit, "told": f.told, "source": f.source}
        for f in finds
    ]
    write_table(answer_path(task.answers, task.number), pa.Table.from_pylist(answers, schema=ANSWER_SCHEMA))
    write_shard(task.shards, task.number, samples, _statistics(len(samples), start))
    return len(samples)


def answer_path(folder: Path, number: int) -> Path:
    """Where a shard's part of the answers is kept until the pool is complete."""
    return folder / f"{number:08d}.parquet"


def write_table(path: Path, table: Any) -> None:
    """Write a parquet file atomically."""
    with atomic_writer(path) as stream:
        pq.write_table(table, stream)


def _download(found: Find, key: str) -> tuple[Sample, dict[str, Any]]:
    """What img2dataset stores of an original: at most 64 pixels long, encoded again, with the original's size."""
    original = decode(found.data)
    image = stored(original)
    row: dict[str, Any] = {
        "uid": found.uid,
        "face_bboxes": [],
        "caption": found.text,
        "url": found.url,
        "key": key,
        "status": "success",
        "error_message": None,
        "width": image.width,
        "height": image.height,
        "original_width": original.width,
        "original_height": original.height,
        "exif": "{}",
        "sha256": hashlib.sha256(found.data).hexdigest(),
    }
    members = {
        "jpg": encode_jpeg(image),
        "json": json.dumps(row, ensure_ascii=False).encode(),
        "txt": found.text.encode(),
    }
    return Sample(key, members), row


def _statistics(count: int, start: datetime) -> dict[str, Any]:
    end = datetime.now(UTC)
    return {
        "count": count,
        "failed_to_download": 0,
        "failed_to_resize": 0,
        "duration": (end - start).total_seconds(),
        "start_time": start.timestamp(),
        "end_time": end.timestamp(),
        "status_dict": {"success": count},
    }
