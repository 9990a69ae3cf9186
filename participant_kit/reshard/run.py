"""Resharding as a whole: check, index, count, plan, write."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import competition
from competition.data.digests import file_sha256
from competition.data.engine import Engine, LocalEngine
from competition.data.journal import Journal
from competition.data.shards import SHARD_FORMAT, ShardListing, list_shards
from competition.data.uids import UidArray, contained_in, load_subset, multiplicities, uids_to_hex
from competition.errors import DataFormatError, UsageError
from competition.progress import ProgressHook
from participant_kit.reshard.output import finish, prepare_output
from participant_kit.reshard.passes import (
    Job,
    digest_of,
    file_state,
    index_shard,
    load_index,
    plan_output,
    write_output,
)
from participant_kit.reshard.report import ReshardReport


def reshard(  # noqa: PLR0913 - where from, where to, which, how, and two permissions
    input_dir: Path,
    output_dir: Path,
    subset_path: Path,
    workers: int = 1,
    shard_size: int = 10_000,
    progress: ProgressHook | None = None,
    *,
    overwrite: bool = False,
    allow_missing: bool = False,
) -> ReshardReport:
    """Write the pool samples that a subset names to ``output_dir``. Run again after a kill or a repair, it goes on.

    Args:
        input_dir: folder of the pool's tars.
        output_dir: absent, empty, or holding an unfinished run of the same job; a finished run of it is returned.
        subset_path: sorted uids; a uid that occurs c times gives c copies.
        workers: processes.
        shard_size: samples in each output shard.
        progress: told after every shard of each pass.
        overwrite: first remove what an earlier reshard left in ``output_dir``.
        allow_missing: leave out (and count) uids that no pool sample has, as when images are gone from the web.

    Raises:
        UsageError: the output folder holds something else, or a number is out of range.
        DataFormatError: the subset is unsorted, empty or malformed, a uid of it (with ``allow_missing``: every uid) is
            not in the pool, or a tar is damaged (named with its byte; the other shards' work is kept).
        StorageError: the disk is full, or a path cannot be read or written; finished shards are kept.
        EngineError: a worker died on every attempt.
    """
    if shard_size < 1:
        raise UsageError(f"The shard size is {shard_size}; it must be at least 1.")
    engine = LocalEngine(workers)
    subset = load_subset(subset_path)
    if not len(subset):
        raise DataFormatError(f"Subset {subset_path} holds no uids.", hint="Choose a less strict filter.")
    listing = list_shards(input_dir)
    subset_sha256 = file_sha256(subset_path)
    digest = digest_of([competition.__version__, subset_sha256, shard_size])
    job = Job(output_dir, subset_path, digest)
    input_digest = digest_of([[shard.name, file_state(shard.path)[0]] for shard in listing.shards])
    finished = prepare_output(job, input_dir, input_digest, overwrite=overwrite)
    if finished is not None:
        _refuse_missing(finished, subset_path, input_dir, allow_missing=allow_missing)
        return finished
    indexed = _index(job, listing, engine, progress)
    report = replace(
        _count(job, listing, indexed, subset, shard_size), subset_sha256=subset_sha256, input_digest=input_digest
    )
    try:
        _refuse_missing(report, subset_path, input_dir, allow_missing=allow_missing)
    except DataFormatError:
        shutil.rmtree(job.work_dir)  # the folder stays usable for a better subset
        raise
    sizes = _write(job, listing, indexed, shard_size, engine, progress)
    finish(job, report, subset, sizes)
    return report


def _refuse_missing(report: ReshardReport, subset_path: Path, input_dir: Path, *, allow_missing: bool) -> None:
    if not report.not_found or (allow_missing and report.output_count):
        return
    skipped = sum(report.skipped.values())
    raise DataFormatError(
        f"{report.not_found:,} of the {report.subset_size:,} uids of {subset_path} are not in the shards of "
        f"{input_dir} (first: {report.not_found_examples[0]}).",
        hint="Was the subset made for another pool?"
        + (" To leave out images that could not be downloaded, pass --allow-missing." if report.output_count else "")
        + (f" {skipped:,} samples of these shards could not be looked up." if skipped else ""),
    )


def _index(job: Job, listing: ShardListing, engine: Engine, progress: ProgressHook | None) -> dict[str, dict[str, Any]]:
    """Pass one: what each pool shard holds of the subset, by shard name, in pool order."""
    journal = Journal(job.work_dir / "index.jsonl", job.digest)
    for shard in listing.shards:
        known = journal.completed.get(shard.name)
        if known and (known["state"] != file_state(shard.path) or not job.index_path(shard.name).exists()):
            journal.forget(shard.name)
    tasks = {shard.name: shard for shard in listing.shards}
    return engine.map(partial(index_shard, job), tasks, stage="indexing shards", journal=journal, progress=progress)


def _count(
    job: Job, listing: ShardListing, indexed: dict[str, dict[str, Any]], subset: UidArray, shard_size: int
) -> ReshardReport:
    """The report, before anything is written."""
    found = np.concatenate([load_index(job, shard.name)["uid"] for shard in listing.shards])
    unique, counts = multiplicities(subset)
    missing = ~contained_in(unique, found)
    not_found = int(counts[missing].sum())
    output_count = sum(entry["copies"] for entry in indexed.values())
    skipped: Counter[str] = Counter()
    for entry in indexed.values():
        skipped.update(entry["skipped"])
    return ReshardReport(
        processed_count=sum(entry["processed"] for entry in indexed.values()),
        output_count=output_count,
        output_shard_count=-(-output_count // shard_size),
        shard_size=shard_size,
        subset_size=len(subset),
        subset_sha256="",
        not_found=not_found,
        not_found_examples=uids_to_hex(unique[missing][:5]),
        repeated_count=output_count + not_found - len(subset),
        skipped=dict(sorted(skipped.items())),
        gaps=[list(gap) for gap in listing.gaps],
        miscounted_shards=[
            name
            for name, entry in indexed.items()
            if entry["expected"] not in (None, entry["processed"] + sum(entry["skipped"].values()))
        ],
        input_digest="",
    )


def _write(
    job: Job,
    listing: ShardListing,
    indexed: dict[str, dict[str, Any]],
    shard_size: int,
    engine: Engine,
    progress: ProgressHook | None,
) -> dict[str, int]:
    """Pass two: write the output shards that are not there yet; returns samples by shard name."""
    plans = {
        SHARD_FORMAT.format(plan.number): plan
        for plan in plan_output([(shard.path, indexed[shard.name]["copies"]) for shard in listing.shards], shard_size)
    }
    # The plan changes with the pool: shards written for another state of it must not be kept.
    states = [[name, entry["state"], entry["copies"]] for name, entry in indexed.items()]
    journal = Journal(job.work_dir / "output.jsonl", digest_of([job.digest, states]))
    for name, written in journal.completed.items():
        path = job.output_dir / name
        if not path.exists() or path.stat().st_size != written["bytes"]:
            journal.forget(name)
    results = engine.map(partial(write_output, job), plans, stage="writing shards", journal=journal, progress=progress)
    for path in job.output_dir.glob("*.tar"):
        if path.name not in results:  # of an earlier state of the pool, when more samples were selected
            path.unlink()
            path.with_name(f"{path.stem}_stats.json").unlink(missing_ok=True)
    return {name: written["samples"] for name, written in results.items()}
