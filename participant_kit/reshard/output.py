"""The output folder of a reshard: when it may be used, when it is finished, what is removed from it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder, remove_partials, storage_errors, write_bytes
from competition.data.lock import folder_lock
from competition.data.uids import UID_DTYPE, UidArray
from competition.errors import UsageError
from participant_kit.reshard.finished import Finished, PoolState, manifest_of
from participant_kit.reshard.passes import Job
from participant_kit.reshard.report import ReshardReport

META, SIZES, SAMPLE_IDS, MANIFEST, MARKER = "meta.json", "sizes.json", "sample_ids.npy", "manifest.json", "job"

LOCK = ".lock"

_PLANNED = "planned"
_IN_MANIFEST = ("samples", "bytes", "blake3")
_OF_A_SHARD = re.compile(r"(\d{8,})(?:\.tar|_stats\.json)")


def prepare_output(job: Job, pool: PoolState, *, overwrite: bool) -> ReshardReport | None:
    """Make the output folder ready; returns the report of a finished run of the same job.

    A run that went on in spite of faults is finished only as long as nobody repairs or changes the pool; its shards
    stay until the next run has found what it will write.
    """
    output_dir = job.output_dir
    marker, meta = job.work_dir / MARKER, output_dir / META
    found = marker.read_text() if marker.exists() else None
    earlier = _read_meta(output_dir)
    ours = job.work_dir.exists() or earlier is not None
    shards = 0 if earlier is None else earlier["output_shard_count"]
    if overwrite and ours:
        _clear(job, shards)
    elif job.work_dir.exists() and (found is not None or not meta.exists()):  # unfinished
        if found not in {None, job.digest}:
            raise UsageError(
                f"The folder {output_dir} holds an unfinished reshard of another subset, other options or version.",
                hint="Choose another output folder, or pass --overwrite.",
            )
    elif _content(output_dir):
        finished = _finished(output_dir, job.digest)
        if finished is None or not (finished.of(pool) or finished.faulty):
            raise UsageError(
                f"The output folder {output_dir} is not empty.",
                hint="Choose another folder, or pass --overwrite.",
            )
        if finished.of(pool):
            shutil.rmtree(job.work_dir, ignore_errors=True)  # of a run that was killed while it removed that itself
            return finished.report
    make_folder(job.work_dir)
    note_planned(job, shards)
    write_bytes(marker, job.digest.encode(), synced=False)
    remove_partials(output_dir, job.work_dir)
    return None


@contextmanager
def locked_output(job: Job) -> Iterator[None]:
    """Make the output folder and keep other processes out. Nothing is put into a folder that is not for a reshard.

    Raises:
        UsageError: another process is resharding there, the folder is the pool's, or holds something else.
        StorageError: the folder cannot be made or written.
    """
    input_dir, output_dir = job.input_dir, job.output_dir
    make_folder(output_dir)
    if output_dir.resolve() == input_dir.resolve():
        raise UsageError(f"Input and output are the same folder {input_dir}.", hint="Choose another output folder.")
    if _content(output_dir) and not job.work_dir.exists() and _read_meta(output_dir) is None:
        raise UsageError(f"The output folder {output_dir} is not empty.", hint="Choose another folder.")
    with folder_lock(output_dir, "is resharding", "--output-dir"):
        yield


def _content(output_dir: Path) -> bool:
    """There is anything beside a lock."""
    return any(path.name != LOCK for path in output_dir.iterdir())


def _finished(output_dir: Path, digest: str) -> Finished | None:
    """The finished run of this very job, if every shard of it is there as a whole."""
    try:
        meta, manifest = ((output_dir / name).read_bytes() for name in (META, MANIFEST))
        found = Finished.read(meta, manifest, digest)
        whole = found is not None and all((output_dir / name).stat().st_size == n for name, n in found.sizes.items())
    except OSError:
        return None
    return found if whole else None


def _read_meta(output_dir: Path) -> dict[str, Any] | None:
    """``meta.json`` if a reshard of ours wrote it."""
    try:
        meta = json.loads((output_dir / META).read_bytes())
        ours = isinstance(meta["job_digest"], str) and isinstance(meta["output_shard_count"], int)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return meta if ours else None


def _clear(job: Job, shards: int) -> None:
    """Remove what a reshard of this many shards, or an unfinished one, wrote, and nothing else.

    The marker stays, and until they are gone the number of its shards, so that a kill here leaves the folder ours.
    """
    output_dir, marker, planned = job.output_dir, job.work_dir / MARKER, job.work_dir / _PLANNED
    make_folder(job.work_dir)
    note_planned(job, shards)
    write_bytes(marker, b"being removed", synced=False)
    with storage_errors("removing an earlier reshard from", output_dir):
        for name in (META, MANIFEST, SIZES, SAMPLE_IDS):
            (output_dir / name).unlink(missing_ok=True)
        remove_shards(job, 0)
        for path in job.work_dir.iterdir():
            if path not in {marker, planned}:
                path.unlink()
        planned.unlink()


def note_planned(job: Job, shards: int) -> None:
    """Note, before any is written, that this job may write shards of numbers below ``shards``."""
    write_bytes(job.work_dir / _PLANNED, str(max(shards, _planned(job))).encode(), synced=False)


def _planned(job: Job) -> int:
    path = job.work_dir / _PLANNED
    with storage_errors("reading", path):
        return int(path.read_bytes()) if path.exists() else 0


def remove_shards(job: Job, first: int) -> None:
    """Remove shards from number ``first`` on that this job or the one it replaces may have written; no other file."""
    behind = _planned(job)
    with storage_errors("removing old shards from", job.output_dir):
        for path in job.output_dir.iterdir():
            match = _OF_A_SHARD.fullmatch(path.name)
            if match and first <= int(match[1]) < behind:
                path.unlink()


def finish(
    job: Job, report: ReshardReport, pool: PoolState, subset: UidArray, written: dict[str, dict[str, Any]]
) -> ReshardReport:
    """Write the files beside the shards, ``meta.json`` last, since it says that the output is complete."""
    sizes = {name: shard["samples"] for name, shard in written.items()}
    shards = [{"name": name, **{key: shard[key] for key in _IN_MANIFEST}} for name, shard in written.items()]
    remove_partials(job.output_dir)  # of workers that were killed in this very run
    _write_json(job.output_dir / SIZES, sizes)
    with atomic_writer(job.output_dir / SAMPLE_IDS, synced=False) as stream:
        write_npy(stream, np.asarray(subset, dtype=UID_DTYPE))
    _write_json(job.output_dir / MANIFEST, manifest_of(report, pool, shards))
    _write_json(job.output_dir / META, report.as_json())
    with storage_errors("removing", job.work_dir):
        shutil.rmtree(job.work_dir)
    return report


def _write_json(path: Path, content: Any) -> None:
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode(), synced=False)
