"""The two passes over one shard: find the selected samples of a pool shard, write an output shard."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from competition.data.atomic import atomic_writer, write_bytes
from competition.data.sample_table import SampleTable
from competition.data.shards import SHARD_FORMAT, STATS_FORMAT, Shard, expected_samples
from competition.data.tar import damaged
from competition.data.tar_headers import MAX_NAME_BYTES, Bytes2D
from competition.data.uids import UID_DIGITS, UidArray, uids_to_hex
from participant_kit.pools.index import PoolIndex, file_state
from participant_kit.reshard.copying import MemberCopies, write_tar
from participant_kit.reshard.images import EXTENSION, ChangedImages, ImageChange, change_images
from participant_kit.reshard.plan import OutputPlan, Slice
from participant_kit.reshard.selection import load_selection, save_selection, select

WORK_FOLDER = ".reshard"


@dataclass(frozen=True, slots=True)
class Job:
    """What workers need to know.

    Args:
        input_dir: folder of the pool's tars.
        output_dir: where shards go.
        subset_path: the sorted uids.
        digest: names subset, options and version: an unfinished run of the same digest can go on.
        change: what happens to images; ``None``: all bytes are copied.
        digests: take the BLAKE3 of output shards.
    """

    input_dir: Path
    output_dir: Path
    subset_path: Path
    digest: str
    change: ImageChange | None = None
    digests: bool = True

    @property
    def work_dir(self) -> Path:
        return self.output_dir / WORK_FOLDER

    def selection_path(self, shard: str) -> Path:
        """Where pass one notes the selected samples of a pool shard."""
        return self.work_dir / f"{shard}.selected"


def index_shard(job: Job, index: PoolIndex | None, shard: Shard) -> dict[str, Any]:
    """Runs in a worker: find the selected samples of a pool shard and note where they lie."""
    state = file_state(shard.path)
    indexed = index.read(shard.name) if index is not None and index.fresh(shard) else None
    found = select(shard, indexed, job.subset_path)
    save_selection(job.selection_path(shard.name), found.selection)
    return {
        "state": state,
        "processed": found.processed,
        "copies": int(found.selection.copies.sum()),
        "skipped": dict(found.skipped),
        "lost": found.lost,
        "unknown": found.unknown,
        "damage": found.damage,
        "log_damage": found.log_damage,
        "expected": expected_samples(shard),
    }


def write_output(job: Job, plan: OutputPlan, states: list[list[int]], lanes: int, number: int) -> dict[str, Any]:
    """Runs in a worker: write an output shard and its stats; ``states`` are those of the pool shards in pass one."""
    gathered = _gather(job, plan, states, number)
    spill = job.work_dir / f"{number}.images"
    changed_images = unchangeable = 0
    if job.change is not None:
        changed = change_images(job.change, gathered.table, gathered.sources, gathered.paths, spill)
        gathered = _with_images(gathered, changed, spill)
        changed_images, unchangeable = len(changed.members), changed.unchangeable
    members = _members(gathered)
    path = job.output_dir / SHARD_FORMAT.format(number)
    stats, count = job.output_dir / STATS_FORMAT.format(number), len(gathered.uids)
    with atomic_writer(path, synced=False) as stream:
        size = write_tar(path, stream.fileno(), members, lanes)
        # What was just written is still in memory; the threads are those that wrote it.
        digest = blake3(max_threads=lanes).update_mmap(stream.name).hexdigest() if job.digests else None
        # Before the tar has its name: on a full disk no shard is left that lacks its stats.
        write_bytes(stats, (json.dumps({"successes": count}) + "\n").encode(), synced=False)
    spill.unlink(missing_ok=True)
    return {
        "samples": count,
        "bytes": size,
        "blake3": digest,
        "changed_images": changed_images,
        "unchangeable_images": unchangeable,
    }


class Gathered(NamedTuple):
    """The samples of an output shard in order.

    ``sources`` [samples] tells in which of ``paths`` a sample lies, ``places`` [members] the same of each member.
    """

    uids: UidArray
    copies: NDArray[np.int64]
    sources: NDArray[np.int64]
    table: SampleTable
    paths: list[Path]
    places: NDArray[np.int64]


def _gather(job: Job, plan: OutputPlan, states: list[list[int]], number: int) -> Gathered:
    """What an output shard holds, from the selections of the pool shards, or from all of them pooled."""
    part = plan.slice(number)
    used, sources = np.unique(part.shards, return_inverse=True)
    paths = []
    for shard in used.tolist():
        paths.append(job.input_dir / plan.names[shard])
        if file_state(paths[-1]) != states[shard]:
            raise damaged(paths[-1], 0, "it changed while its samples were being copied")
    uids, table = _from_shards(job, plan, part) if plan.pooled is None else plan.pooled.take(part.places)
    return Gathered(uids, part.copies, sources, table, paths, np.repeat(sources, np.diff(table.firsts)))


def _from_shards(job: Job, plan: OutputPlan, part: Slice) -> tuple[UidArray, SampleTable]:
    """Samples in pool order, which lie together in the selections of a few pool shards."""
    uids, tables = [], []
    for shard in np.unique(part.shards).tolist():
        selection = load_selection(job.selection_path(plan.names[shard]))
        wanted = part.rows[part.shards == shard]
        uids.append(selection.uids[wanted])
        tables.append(selection.table.take(wanted))
    return np.concatenate(uids), SampleTable.joined(tables)


def _with_images(gathered: Gathered, changed: ChangedImages, spill: Path) -> Gathered:
    """Let changed members come from the file of changed images."""
    table, places = gathered.table, gathered.places.copy()
    offsets, sizes, kinds = table.offsets.copy(), table.sizes.copy(), table.kinds.copy()
    offsets[changed.members], sizes[changed.members] = changed.offsets, changed.sizes
    kinds[changed.members] = len(table.extensions)
    places[changed.members] = len(gathered.paths)
    table = replace(table, offsets=offsets, sizes=sizes, kinds=kinds, extensions=(*table.extensions, EXTENSION))
    return gathered._replace(table=table, paths=[*gathered.paths, spill], places=places)


def _members(gathered: Gathered) -> MemberCopies:
    """All members of an output shard under their new names ``<uid>-<copy>.<extension>``."""
    table = gathered.table
    counts = np.diff(table.firsts)
    samples = np.repeat(np.arange(len(counts)), counts)
    names = np.zeros((len(samples), 100), dtype=np.uint8)
    digits = np.frombuffer("".join(uids_to_hex(gathered.uids)).encode(), dtype=np.uint8).reshape(-1, UID_DIGITS)
    pairs = gathered.copies[samples] * len(table.extensions) + table.kinds
    for pair in np.unique(pairs).tolist():
        copy, kind = divmod(pair, len(table.extensions))
        rows = np.flatnonzero(pairs == pair)
        names[rows] = _names(digits[samples[rows]], copy, table.extensions[kind])
    return MemberCopies(names, gathered.places, table.offsets, table.sizes, gathered.paths)


def _names(digits: Bytes2D, copy: int, extension: str) -> Bytes2D:
    suffix = np.frombuffer(f"-{copy}.{extension}".encode(), dtype=np.uint8)
    width = UID_DIGITS + len(suffix)
    names = np.zeros((len(digits), MAX_NAME_BYTES), dtype=np.uint8)
    names[:, :UID_DIGITS], names[:, UID_DIGITS:width] = digits, suffix
    return names


def digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
