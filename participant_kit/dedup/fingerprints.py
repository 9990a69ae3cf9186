"""What identifies the images of shards: sha256 of the stored bytes, perceptual hash, and size; one parquet a shard.

A folder of such files can stand for a pool's metadata where only these columns are asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import competition
from competition.data.atomic import atomic_writer, make_folder
from competition.data.engine import Workers, engine_of
from competition.data.journal import Journal
from competition.data.shards import Sample, Shard, list_shards, read_samples
from competition.data.uids import parse_uid
from competition.errors import DataFormatError
from competition.progress import ProgressHook
from participant_kit.pools.annotate.identity import pair_uid
from participant_kit.subsets.result import sum_dropped

UNDECODABLE, NO_IMAGE = "image_undecodable", "image_missing"

_COLUMNS = ("uid", "key", "sha256", "perceptual_hash", "original_width", "original_height")
_BATCH = 512


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """A folder of fingerprints.

    Args:
        folder: with a parquet file for each shard.
        samples: in all shards.
        unusable: of them, by reason: they have a row, with null for what could not be had.
    """

    folder: Path
    samples: int
    unusable: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {"folder": str(self.folder), "samples": self.samples, "unusable": self.unusable}


def fingerprint_shards(
    shards_dir: Path, folder: Path, workers: Workers = 1, progress: ProgressHook | None = None
) -> Fingerprints:
    """Read every image of a folder of shards once; a killed run goes on, an unchanged shard is not read again.

    A sample's uid is its json's; where it has none it is made of url or image, and caption, as annotating does.

    Args:
        shards_dir: with tars in webdataset's layout.
        folder: where the parquet files go; made when absent.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every shard.

    Raises:
        DataFormatError: no shard, or one that is damaged.
        StorageError: a path cannot be read or written.
    """
    shards = list_shards(shards_dir).shards
    make_folder(folder)
    states = [(shard.name, shard.path.stat().st_size, shard.path.stat().st_mtime_ns) for shard in shards]
    mark = hashlib.sha256(json.dumps([competition.__version__, str(shards_dir.resolve()), states]).encode()).hexdigest()
    journal = Journal(folder / ".journal.jsonl", mark)
    for shard in shards:
        if not _parquet(folder, shard).exists():
            journal.forget(shard.name)
    tasks = {shard.name: shard for shard in shards}
    results = engine_of(workers).map(
        partial(_fingerprint_shard, folder), tasks, stage="reading images", journal=journal, progress=progress
    )
    unusable = sum_dropped([result["unusable"] for result in results.values()])
    return Fingerprints(folder, sum(result["samples"] for result in results.values()), unusable)


def _parquet(folder: Path, shard: Shard) -> Path:
    return folder / f"{shard.path.stem}.parquet"


def _fingerprint_shard(folder: Path, shard: Shard) -> dict[str, Any]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from competition.evaluation.images import IMAGE_EXTENSIONS
    from participant_kit.pools.annotate.descriptors import perceptual_hashes

    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    thumbnails: list[Any] = []
    unusable: Counter[str] = Counter()

    def hash_batch() -> None:
        if thumbnails:
            hashes = perceptual_hashes(np.stack([each for _, each in thumbnails]))
            for (row, _), number in zip(thumbnails, hashes.tolist(), strict=True):
                columns["perceptual_hash"][row] = f"{number:016x}"
            thumbnails.clear()

    for row, sample in enumerate(read_samples(shard.path, {*IMAGE_EXTENSIONS, "json", "txt"})):
        data = next((sample.members[name] for name in IMAGE_EXTENSIONS if name in sample.members), None)
        thumbnail, size, reason = _looked_at(data)
        digest = None if data is None else hashlib.sha256(data).hexdigest()
        for name, value in zip(_COLUMNS, (_uid(sample, digest), sample.key, digest, None, *size), strict=True):
            columns[name].append(value)
        if reason is not None:
            unusable[reason] += 1
            continue
        thumbnails.append((row, thumbnail))
        if len(thumbnails) == _BATCH:
            hash_batch()
    hash_batch()
    schema = pa.schema([(name, pa.int64() if name.startswith("original") else pa.string()) for name in _COLUMNS])
    with atomic_writer(_parquet(folder, shard)) as stream:
        pq.write_table(pa.table(columns, schema=schema), stream)
    return {"samples": len(columns["uid"]), "unusable": dict(unusable)}


def _looked_at(data: bytes | None) -> tuple[Any, tuple[int | None, int | None], str | None]:
    """Thumbnail and size of an image, or why there are none."""
    from competition.evaluation.images import ImageDecodingError, decode_rgb
    from participant_kit.pools.annotate.descriptors import hash_thumbnail

    if data is None:
        return None, (None, None), NO_IMAGE
    try:
        image = decode_rgb(data)
    except ImageDecodingError:
        return None, (None, None), UNDECODABLE
    return hash_thumbnail(image), image.size, None


def _uid(sample: Sample, digest: str | None) -> str:
    """The json's uid in 32 digits, or one made as annotating makes it."""
    said = _said(sample)
    try:
        upper, lower = parse_uid(said["uid"])
    except (KeyError, TypeError, AttributeError, DataFormatError):
        url = said.get("url")
        text = sample.members.get("txt", b"").decode(errors="replace") or str(said.get("caption") or "")
        return pair_uid(url if isinstance(url, str) and url else f"sha256:{digest or sample.key}", text)
    return f"{upper:016x}{lower:016x}"


def _said(sample: Sample) -> dict[str, Any]:
    try:
        said = json.loads(sample.members.get("json", b"{}"))
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
