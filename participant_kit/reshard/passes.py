"""The two passes over one shard: find the selected samples of a pool shard, write an output shard."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, storage_errors
from competition.data.shards import (
    Sample,
    SampleSpan,
    Shard,
    expected_samples,
    read_payload,
    read_sample,
    scan_samples,
    write_shard,
)
from competition.data.tar import Buffer, open_tar
from competition.data.uids import UID_DTYPE, count_in, load_subset, parse_uid, uids_to_hex
from competition.errors import DataFormatError

WORK_FOLDER = ".reshard"

SELECTED_DTYPE = np.dtype([("uid", UID_DTYPE), ("start", "<i8"), ("stop", "<i8"), ("copies", "<i8")])
"""A selected sample: its uid, its byte range in the pool's tar, and how often the subset has it (at least 1)."""


@dataclass(frozen=True, slots=True)
class Job:
    """What workers need to know. ``digest`` names subset, shard size and version: an unfinished run of it can go on."""

    output_dir: Path
    subset_path: Path
    digest: str

    @property
    def work_dir(self) -> Path:
        return self.output_dir / WORK_FOLDER

    def index_path(self, shard: str) -> Path:
        """Where pass one notes the selected samples of a pool shard."""
        return self.work_dir / f"{shard}.npy"


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """One output shard: runs ``first : last`` of the selected copies of pool shards, in order."""

    number: int
    runs: tuple[tuple[Path, int, int], ...]


def index_shard(job: Job, shard: Shard) -> dict[str, Any]:
    """Runs in a worker: look up every sample of a pool shard and write the selected ones to the shard's index."""
    state = file_state(shard.path)
    skipped: Counter[str] = Counter()
    pairs: list[tuple[int, int]] = []
    ranges: list[tuple[int, int]] = []
    with open_tar(shard.path) as buffer:
        for span in scan_samples(buffer, shard.path):
            uid = _uid_of(buffer, span)
            if isinstance(uid, str):
                skipped[uid] += 1
                continue
            pairs.append(uid)
            ranges.append((span.start, span.stop))
    samples = np.zeros(len(pairs), dtype=SELECTED_DTYPE)
    samples["uid"] = np.array(pairs, dtype=UID_DTYPE)
    samples["start"], samples["stop"] = np.array(ranges, dtype=np.int64).reshape(-1, 2).T
    samples["copies"] = count_in(samples["uid"], load_subset(job.subset_path, require_sorted=False))
    selected = samples[samples["copies"] > 0]
    with atomic_writer(job.index_path(shard.name)) as stream:
        write_npy(stream, selected)
    return {
        "state": state,
        "processed": len(pairs),
        "copies": int(selected["copies"].sum()),
        "skipped": dict(skipped),
        "expected": expected_samples(shard),
    }


def _uid_of(buffer: Buffer, span: SampleSpan) -> tuple[int, int] | str:
    """The uid in a sample's json, or the reason why there is none."""
    if "json" not in span.members:
        return "no json member"
    try:
        content = json.loads(read_payload(buffer, span.members["json"]))
    except (ValueError, RecursionError):
        return "malformed json"
    uid = content.get("uid") if isinstance(content, dict) else None
    if not isinstance(uid, str):
        return "no uid in the json"
    try:
        return parse_uid(uid)
    except DataFormatError:
        return "malformed uid"


def plan_output(available: list[tuple[Path, int]], shard_size: int) -> Iterator[OutputPlan]:
    """Cut the copies of all pool shards, in order, into runs of ``shard_size``."""
    number, room = 0, shard_size
    runs: list[tuple[Path, int, int]] = []
    for path, copies in available:
        first = 0
        while first < copies:
            last = min(copies, first + room)
            runs.append((path, first, last))
            room -= last - first
            first = last
            if not room:
                yield OutputPlan(number, tuple(runs))
                number, room, runs = number + 1, shard_size, []
    if runs:
        yield OutputPlan(number, tuple(runs))


def write_output(job: Job, plan: OutputPlan) -> dict[str, int]:
    """Runs in a worker."""
    samples = (sample for path, first, last in plan.runs for sample in _copies(job, path, first, last))
    count, size = write_shard(job.output_dir, plan.number, samples)
    return {"samples": count, "bytes": size}


def _copies(job: Job, path: Path, first: int, last: int) -> Iterator[Sample]:
    """The copies ``first : last`` of a pool shard's selected samples; copies of one sample follow one another."""
    index = load_index(job, path.name)
    ends = np.cumsum(index["copies"])
    starts = ends - index["copies"]
    rows = index[np.searchsorted(ends, first, side="right") : np.searchsorted(starts, last, side="left")]
    position = int(starts[np.searchsorted(ends, first, side="right")])
    with open_tar(path) as buffer:
        for row, uid in zip(rows, uids_to_hex(rows["uid"]), strict=True):
            span = next(scan_samples(buffer, path, int(row["start"]), int(row["stop"])))
            sample = read_sample(buffer, span)
            for copy in range(int(row["copies"])):
                if first <= position < last:
                    yield Sample(f"{uid}-{copy}", sample.members)
                position += 1


def load_index(job: Job, shard: str) -> NDArray[np.void]:
    with storage_errors("reading", job.index_path(shard)):
        index: NDArray[np.void] = np.load(job.index_path(shard), allow_pickle=False)
    return index


def file_state(path: Path) -> list[int]:
    """Changes when a file does: bytes and time of its last change."""
    with storage_errors("reading", path):
        stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
