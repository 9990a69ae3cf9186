"""Resharding as a whole: check, index, count, plan, write."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from competition.data.atomic import storage_errors
from competition.data.digests import file_sha256
from competition.data.engine import Engine, LocalEngine, Needs, Workers, engine_of
from competition.data.journal import Journal
from competition.data.shards import SHARD_FORMAT, ShardListing, list_shards
from competition.data.uids import UidArray, contained_in, load_subset, multiplicities, uids_to_hex
from competition.errors import DataFormatError, UsageError
from competition.progress import ProgressHook
from participant_kit.pools.index import file_state, load_index
from participant_kit.reshard.faults import refuse_faults
from participant_kit.reshard.finished import PoolState
from participant_kit.reshard.foreign import find_foreign
from participant_kit.reshard.options import DEFAULTS, Options
from participant_kit.reshard.output import META, finish, locked_output, note_planned, prepare_output, remove_shards
from participant_kit.reshard.passes import Job, digest_of, index_shard, write_output
from participant_kit.reshard.plan import plan_output
from participant_kit.reshard.pooled import pool_selections
from participant_kit.reshard.report import ReshardReport
from participant_kit.reshard.selection import load_selection

_THREADS_BELOW = 4 << 30
"""Bytes of a pool up to which threads do all the work: a process costs more start-up than it would save."""


def reshard(
    input_dir: Path,
    output_dir: Path,
    subset_path: Path,
    workers: Workers = 1,
    shard_size: int = 10_000,
    progress: ProgressHook | None = None,
    options: Options = DEFAULTS,
) -> ReshardReport:
    """Write the pool samples that a subset names to ``output_dir``. Run again after a kill or a repair, it goes on.

    Nothing waits for the disk: a killed process loses no finished shard. A power cut may leave shards shorter than
    recorded; those are written again by the next run, and ``manifest.json`` has every shard's BLAKE3.

    Args:
        input_dir: folder of the pool's tars.
        output_dir: absent, empty, or holding an unfinished run of the same job; a finished run of it is returned.
        subset_path: sorted uids; a uid that occurs c times gives c copies.
        workers: how many tasks at a time on this machine, or an engine.
        shard_size: samples in each output shard but the last.
        progress: told after every shard of each pass.
        options: the rarer choices.

    Raises:
        UsageError: the output folder holds something else, another process is at work there, or a number is out of
            range.
        DataFormatError: the subset is unsorted, empty or malformed, no uid of it has a sample, or there are more faults
            than tolerated: damaged tars (named with the byte; the other shards' work is kept), lost entries, uids that
            are foreign to the pool (see ``find_foreign``).
        StorageError: the disk is full, or a path cannot be read or written; finished shards are kept.
        EngineError: a worker died on every attempt.
    """
    if shard_size < 1:
        raise UsageError(f"The shard size is {shard_size}; it must be at least 1.")
    subset = load_subset(subset_path)
    if not len(subset):
        raise DataFormatError(f"Subset {subset_path} holds no uids.", hint="Choose a less strict filter.")
    listing = chosen_shards(list_shards(input_dir), options)
    subset_sha256 = file_sha256(subset_path)
    job = Job(
        input_dir, output_dir, subset_path, options.digest(subset_sha256, shard_size), options.change, options.digests
    )
    states = {shard.name: file_state(shard.path) for shard in listing.shards}
    small = sum(state[0] for state in states.values()) < _THREADS_BELOW
    run = _Run(job, listing, options, shard_size, engine_of(workers), Needs(threads=small), progress)
    with locked_output(job):
        return _in_output(run, states, subset, subset_sha256)


def _in_output(run: _Run, states: dict[str, list[int]], subset: UidArray, subset_sha256: str) -> ReshardReport:
    """The run, in an output folder where nobody else is at work."""
    job, options = run.job, run.options
    pool = PoolState.of(states)
    finished = prepare_output(job, pool, overwrite=options.overwrite)
    if finished is not None:
        refuse_faults(finished, options.tolerate, job.subset_path)
        return finished
    indexed = run.index(states)
    report = replace(
        _count(run, indexed, len(subset), _missing(run, indexed, subset)),
        subset_sha256=subset_sha256,
        input_digest=pool.digest,
        job_digest=job.digest,
    )
    if report.faults in {0, report.foreign} and (report.faults > options.tolerate or not report.output_count):
        shutil.rmtree(job.work_dir)  # the subset is wrong: the folder stays usable for a better one
    refuse_faults(report, options.tolerate, job.subset_path)
    _refuse_nothing(run, report)
    written = run.write(indexed)
    counts = {key: sum(shard[key] for shard in written.values()) for key in ("changed_images", "unchangeable_images")}
    report = replace(report, **counts)
    return finish(job, report, pool, subset, written)


def chosen_shards(listing: ShardListing, options: Options) -> ShardListing:
    """The shards that the options leave."""
    if options.num_shards is None and not options.first_shard:
        return listing
    stop = None if options.num_shards is None else options.first_shard + options.num_shards
    inside = range(options.first_shard, 1 << 62 if stop is None else stop)
    shards = tuple(shard for shard in listing.shards if shard.number is not None and shard.number in inside)
    if not shards:
        raise UsageError(f"The folder {listing.directory} holds no shard with a number in the chosen range.")
    numbers = [shard.number for shard in shards if shard.number is not None]
    gaps = tuple(gap for gap in listing.gaps if min(numbers) < gap[0] < max(numbers))
    return ShardListing(listing.directory, shards, gaps)


def _missing(run: _Run, indexed: dict[str, dict[str, Any]], subset: UidArray) -> dict[str, Any]:
    """Of the report: what it says about uids of the subset that no pool sample has."""
    unique, counts = multiplicities(subset)
    missing = ~contained_in(unique, run.found(indexed))
    foreign = find_foreign(unique[missing], run.job.input_dir)
    return {
        "not_found": int(counts[missing].sum()),
        "not_found_examples": uids_to_hex(unique[missing][:5]),
        "foreign": len(foreign),
        "foreign_examples": uids_to_hex(foreign[:5]),
    }


def _count(run: _Run, indexed: dict[str, dict[str, Any]], subset_size: int, missing: dict[str, Any]) -> ReshardReport:
    """The report, before anything is written; ``missing`` is a part of it."""
    output_count = sum(entry["copies"] for entry in indexed.values())
    skipped: Counter[str] = Counter()
    for entry in indexed.values():
        skipped.update(entry["skipped"])
    return ReshardReport(
        processed_count=sum(entry["processed"] for entry in indexed.values()),
        output_count=output_count,
        output_shard_count=-(-output_count // run.shard_size),
        shard_size=run.shard_size,
        subset_size=subset_size,
        subset_sha256="",
        repeated_count=output_count + missing["not_found"] - subset_size,
        skipped=dict(sorted(skipped.items())),
        gaps=[list(gap) for gap in run.listing.gaps],
        miscounted_shards=[
            name
            for name, entry in indexed.items()
            if entry["expected"] not in (None, entry["processed"] + sum(entry["skipped"].values()))
        ],
        input_digest="",
        shuffle_seed=run.options.shuffle_seed,
        lost=sum(entry["lost"] for entry in indexed.values()),
        unknown=sum(entry["unknown"] for entry in indexed.values()),
        damaged_shards=[entry["damage"] for entry in indexed.values() if entry["damage"] is not None],
        damaged_logs=[entry["log_damage"] for entry in indexed.values() if entry["log_damage"] is not None],
        **missing,
    )


def _refuse_nothing(run: _Run, report: ReshardReport) -> None:
    """Stop before anything is written when there is nothing to write."""
    if not report.output_count:
        raise DataFormatError(
            f"None of the {report.subset_size} uids of {run.job.subset_path} is in the shards of {run.job.input_dir}.",
            hint="Was the subset made for another pool?",
        )


@dataclass(frozen=True, slots=True)
class _Run:
    """The two passes of one job."""

    job: Job
    listing: ShardListing
    options: Options
    shard_size: int
    engine: Engine
    needs: Needs
    progress: ProgressHook | None

    def index(self, states: Mapping[str, list[int]]) -> dict[str, dict[str, Any]]:
        """Pass one: what each pool shard holds of the subset, by shard name, in pool order."""
        job = self.job
        journal = Journal(job.work_dir / "index.jsonl", job.digest, synced=False)
        for shard in self.listing.shards:
            known = journal.completed.get(shard.name)
            if known and (known["state"] != states[shard.name] or not job.selection_path(shard.name).exists()):
                journal.forget(shard.name)
        return self.engine.map(
            partial(index_shard, job, load_index(self.listing.directory)),
            {shard.name: shard for shard in self.listing.shards},
            stage="indexing shards",
            needs=self.needs,
            journal=journal,
            progress=self.progress,
        )

    def found(self, indexed: dict[str, dict[str, Any]]) -> UidArray:
        """Uids of the selected samples, in pool order."""
        return np.concatenate([load_selection(self.job.selection_path(name)).uids for name in indexed])

    def write(self, indexed: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Pass two: write the output shards that are not there yet; returns what each holds, by name."""
        job = self.job
        plan = plan_output(
            tuple(indexed),
            [load_selection(job.selection_path(name)).copies for name in indexed],
            self.shard_size,
            self.options.shuffle_seed,
            job.work_dir / "order.npy",
        )
        if plan.order_path is not None:
            paths = [job.selection_path(name) for name in indexed]
            plan = replace(plan, pooled=pool_selections(paths, job.work_dir / "samples", job.work_dir / "members"))
        # The plan changes with the pool: shards written for another state of it must not be kept.
        states = [[name, entry["state"], entry["copies"]] for name, entry in indexed.items()]
        journal = Journal(job.work_dir / "output.jsonl", digest_of([job.digest, states]), synced=False)
        for name, written in journal.completed.items():
            path = job.output_dir / name
            if not path.exists() or path.stat().st_size != written["bytes"]:
                journal.forget(name)
        tasks = {SHARD_FORMAT.format(number): number for number in range(plan.output_shards)}
        note_planned(job, len(tasks))
        with storage_errors("removing", job.output_dir / META):
            (job.output_dir / META).unlink(missing_ok=True)  # of a run of the pool before its repair
        idle = self.engine.workers // len(tasks) if isinstance(self.engine, LocalEngine) else 1
        lanes = max(1, idle)
        results = self.engine.map(
            partial(write_output, job, plan, [entry["state"] for entry in indexed.values()], lanes),
            tasks,
            stage="writing shards",
            needs=self.needs,
            journal=journal,
            progress=self.progress,
        )
        remove_shards(job, len(tasks))  # of an earlier state of the pool, when more samples were selected
        return results
