"""One shard to one metadata file: batch by batch, with one batch of decoded images ahead of the model."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from competition.data.atomic import atomic_writer, make_folder
from competition.data.metadata import EXTRAS_FOLDER, features_path, write_metadata
from competition.data.outcome import HOST
from competition.data.shards import Sample, Shard, read_samples
from competition.data.uids import parse_uids
from competition.errors import DataFormatError, EngineError
from competition.evaluation.images import IMAGE_EXTENSIONS
from participant_kit.pools.annotate.descriptors import embedding_descriptors, perceptual_hashes
from participant_kit.pools.annotate.facts import SampleFacts, UnusableSampleError, look_at
from participant_kit.pools.annotate.models import ROLES, Model, load_model
from participant_kit.pools.annotate.pairs import encode_pairs
from participant_kit.pools.index import file_state
from participant_kit.subsets.captions import Captions
from participant_kit.subsets.language import predictor

EXTRAS_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("key", pa.string()),
        ("language", pa.string()),
        ("perceptual_hash", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
    ]
)
"""What DataComp's metadata have no column for: the sample's key, the caption's language, pHash, the stored size."""

_MEMBERS = frozenset({*IMAGE_EXTENSIONS, "json", "txt"})
_LABEL = "__label__"


@dataclass(frozen=True, slots=True)
class Job:
    """What is the same for all shards.

    Args:
        output: the metadata folder.
        models: at most one for each role.
        language_model: a fastText model.
        batch: pairs that go through the models together.
        threads: that decode images.
        gpu: the models run on a GPU; else on one core of the processor.
    """

    output: Path
    models: tuple[Model, ...]
    language_model: Path
    batch: int
    threads: int
    gpu: bool


@dataclass(slots=True)
class _Rows:
    """Metadata rows of a shard, as they come."""

    columns: dict[str, list[Any]] = field(default_factory=dict)
    extras: dict[str, list[Any]] = field(default_factory=dict)
    features: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    damage: str | None = None


def annotate_shard(job: Job, task: tuple[int, Shard]) -> dict[str, Any]:
    """Make the metadata of one shard, rows in the order of its samples.

    Args:
        job: what is the same for all.
        task: the shard and its position, which says on which GPU.

    Returns:
        ``state`` of the tar, ``stem`` of the files (``None`` when there are no rows), ``rows``, ``dropped`` samples by
        reason, ``notes``: how many uids were made, how many face boxes ignored; and ``damage``: what is wrong with the
        tar, of which the samples before were used, or ``None``.

    Raises:
        EngineError: the cluster gave the task a GPU that PyTorch does not see.
        EvaluationError: a model cannot be loaded, or yields something that is not finite.
        StorageError: the disk is full, or a path cannot be read or written.
    """
    position, shard = task
    state = file_state(shard.path)
    device = _gpu(position) if job.gpu else "cpu"
    rows = _Rows()
    with _one_thread(not job.gpu), ThreadPoolExecutor(job.threads) as pool:
        for batch in _looked_at(job, shard, pool, rows):
            _encode(job, device, batch, rows)
    stem = _write(job, shard, rows)
    return {
        "state": state,
        "stem": stem,
        "rows": len(rows.columns.get("uid", ())),
        "dropped": dict(sorted(rows.dropped.items())),
        "notes": dict(sorted(rows.notes.items())),
        "damage": rows.damage,
    }


def _gpu(position: int) -> str:
    """One of the GPUs that this process may use; on a cluster, the one that it was given."""
    count = torch.cuda.device_count()
    if not count:
        raise EngineError(
            f"The cluster gave a task on node {HOST} a GPU, and PyTorch sees none there.",
            hint="Install PyTorch for that GPU on the node, or start Ray there with --num-gpus 0.",
        )
    return f"cuda:{position % count}"


def made_files(output: Path, stem: str) -> list[Path]:
    """The files of a shard's metadata."""
    path = output / f"{stem}.parquet"
    return [path, features_path(path), _extras_path(output, stem)]


def _extras_path(output: Path, stem: str) -> Path:
    return output / EXTRAS_FOLDER / f"{stem}.parquet"


def _looked_at(job: Job, shard: Shard, pool: ThreadPoolExecutor, rows: _Rows) -> Iterator[list[SampleFacts]]:
    """Usable samples in batches of at most ``job.batch``; the next batch is decoded while one is used."""
    sides = sorted({model.image_size for model in job.models})
    ahead: list[Future[SampleFacts | str]] = []
    samples = _up_to_damage(shard, rows)
    while part := list(islice(samples, job.batch)):
        following = [pool.submit(_look, sample, sides) for sample in part]
        yield _usable(ahead, rows.dropped)
        ahead = following
    yield _usable(ahead, rows.dropped)


def _up_to_damage(shard: Shard, rows: _Rows) -> Iterator[Sample]:
    try:
        yield from read_samples(shard.path, _MEMBERS)
    except DataFormatError as error:
        rows.damage = error.message


def _look(sample: Sample, sides: Sequence[int]) -> SampleFacts | str:
    try:
        return look_at(sample, sides)
    except UnusableSampleError as error:
        return str(error)


def _usable(futures: Sequence[Future[SampleFacts | str]], dropped: Counter[str]) -> list[SampleFacts]:
    usable = []
    for future in futures:
        found = future.result()
        if isinstance(found, str):
            dropped[found] += 1
        else:
            usable.append(found)
    return usable


def _encode(job: Job, device: str, batch: list[SampleFacts], rows: _Rows) -> None:
    """Put a batch through the models and keep its rows."""
    if not batch:
        return
    texts = [facts.row["text"] for facts in batch]
    columns: dict[str, Sequence[Any]] = {name: [facts.row[name] for facts in batch] for name in batch[0].row}
    for role in ROLES:
        columns[f"clip_{role}_similarity_score"] = [None] * len(batch)
    for number, model in enumerate(job.models):
        pixels = np.stack([facts.pixels[model.image_size] for facts in batch])
        scores, images, captions = encode_pairs(load_model(model, device), pixels, texts)
        columns[f"clip_{model.role}_similarity_score"] = scores.tolist()
        # float16, as DataComp stores them, halves what a shard needs in memory
        rows.features.setdefault(f"{model.role}_img", []).append(images.astype(np.float16))
        rows.features.setdefault(f"{model.role}_txt", []).append(captions.astype(np.float16))
        if not number:
            rows.features.setdefault("dedup", []).append(embedding_descriptors(images))
    for name, values in columns.items():
        rows.columns.setdefault(name, []).extend(values)
    for name, values in _extras(job, batch, texts).items():
        rows.extras.setdefault(name, []).extend(values)
    rows.notes["uid made from url or image and caption"] += sum(facts.made_uid for facts in batch)
    rows.notes["malformed face boxes left out"] += sum(facts.faces_ignored for facts in batch)


def _extras(job: Job, batch: list[SampleFacts], texts: list[str]) -> dict[str, list[Any]]:
    labels = predictor(job.language_model).labels(Captions.of_strings(texts))
    hashes = perceptual_hashes(np.stack([facts.thumbnail for facts in batch]))
    return {
        "uid": [facts.row["uid"] for facts in batch],
        "key": [facts.key for facts in batch],
        "language": [label.removeprefix(_LABEL) for label in labels],
        "perceptual_hash": [f"{number:016x}" for number in hashes.tolist()],
        "width": [facts.stored[0] for facts in batch],
        "height": [facts.stored[1] for facts in batch],
    }


def _write(job: Job, shard: Shard, rows: _Rows) -> str | None:
    """Write the files; the parquet file comes last, so metadata that are there are complete."""
    rows.notes += Counter()  # without zeros
    if not rows.columns:
        return None
    stem = _stem(shard, rows.columns["uid"])
    extras = _extras_path(job.output, stem)
    make_folder(extras.parent)
    with atomic_writer(extras) as stream:
        pq.write_table(pa.table(rows.extras, schema=EXTRAS_SCHEMA), stream)
    features = {name: np.concatenate(parts) for name, parts in rows.features.items()}
    write_metadata(job.output, stem, rows.columns, features)
    return stem


def _stem(shard: Shard, uids: list[str]) -> str:
    """32 hex digits from the shard's name and its uids: the same for the same content, wherever it lies."""
    digest = hashlib.blake2b(os.fsencode(shard.name) + b"\0", digest_size=16)
    digest.update(parse_uids(uids).tobytes())
    return digest.hexdigest()


@contextmanager
def _one_thread(wanted: bool) -> Iterator[None]:
    """Let torch use one core, as each of many workers should, and so that a result does not depend on their number."""
    threads = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
