"""SimCore's coreset of an open set for a target set: see ``participant_kit.coresets.facility_location``.

The open set is the pool. Two passes at least: every file is compared with the centroids of the target images and leaves
its most similar rows, then rows are taken in rounds, and uids read. Where a centroid needs more rows than were kept the
files are compared again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer
from competition.data.journal import Journal
from competition.data.uids import sort_uids
from competition.data.vector_source import Floats, VectorShard, VectorSource, read_vectors
from competition.data.workers import one_thread_a_worker
from competition.errors import UsageError
from participant_kit.coresets.best_rows import Ranking
from participant_kit.coresets.centroids import target_centroids
from participant_kit.coresets.facility_location import Selection, StopRule, select_rows, training_epochs
from participant_kit.coresets.similarity import merge_rankings, rank_shard
from participant_kit.coresets.trace_picture import trace_picture
from participant_kit.subsets.centroids import gpu_device
from participant_kit.subsets.chosen_rows import chosen_uids
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions

DEFAULTS: Mapping[str, Any] = {"features": "l14_img", "num_clusters": 100, "seed": 0}
CAP_PER_TARGET = 50

_RANKED = np.dtype([("score", "<f8"), ("row", "<i8")])


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a worker needs to compare a file with the targets.

    Args:
        shards: the files' features, by name of the metadata file.
        centroids: of the targets.
        folder: gets each file's best rows.
    """

    shards: Mapping[str, VectorShard]
    centroids: Floats
    folder: Path

    def part(self, depth: int, path: Path) -> Path:
        """Where the ``depth`` best rows of a metadata file are kept."""
        return self.folder / f"{path.stem}.best{depth}.npy"


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    options = SIMCORE.complete(options)
    assert options.features is not None
    assert options.num_clusters is not None
    assert options.seed is not None
    source = VectorSource.of_metadata(pool.files, options.features)
    targets = read_vectors(_assets(options)["target_features"], options.features, source.shards[0])
    rule, limit = _rule(options, source.rows, len(targets))
    centroids = target_centroids(targets, options.num_clusters)
    shards = {path.name: shard for path, shard in zip(pool.files, source.shards, strict=True)}
    with pool.working() as working:
        assert working.work_dir is not None
        ranks = _Ranks(working, Comparison(shards, centroids, working.work_dir))
        found = select_rows(ranks.to, source.rows, len(centroids), limit, rule, options.seed)
    usable = source.rows - ranks.missing
    if rule is None and limit > usable:
        raise UsageError(
            f"The budget of {limit:,} is more than the {usable:,} rows of the pool that have features.",
            hint="Ask for fewer with --budget or --size.",
        )
    uids = chosen_uids(pool, source, found.rows)
    dropped = {"features_missing": ranks.missing, "not_selected": usable - len(found.rows)}
    details = {"targets": len(targets), "centroids": len(centroids), **_details(found, rule, limit)}
    return SubsetResult(sort_uids(uids), source.rows, dropped, 0, details, trace_picture(found, rule))


def _details(found: Selection, rule: StopRule | None, limit: int) -> dict[str, Any]:
    """What the record says of the selection."""
    details: dict[str, Any] = {"limit": limit, "rounds": found.kept_rounds, "ended_by": found.ended}
    if rule is not None:
        details |= {"tau": rule.tau, "reference_round": rule.reference_round}
        details |= {"training_epochs": training_epochs(max(1, len(found.rows)))}
    return details | {"depth": found.depth, "round_sizes": found.round_sizes, "F_trace": found.trace}


def _rule(options: StrategyOptions, rows: int, targets: int) -> tuple[StopRule | None, int]:
    """When to stop, and how many rows to take at most.

    Raises:
        UsageError: not exactly one of a budget, a size and stopping; or a limit that cannot be kept.
    """
    if sum((options.budget is not None, options.size is not None, bool(options.stop))) != 1:
        raise UsageError("Strategy simcore needs exactly one of --budget, --size and --stop.")
    if options.stop:
        default = StopRule()
        rule = StopRule(options.tau or default.tau, options.reference_round or default.reference_round)
        return rule, options.cap or CAP_PER_TARGET * targets
    for name in ("tau", "reference_round", "cap"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is for --stop only.")
    limit = int(options.budget * rows) if options.budget is not None else options.size or 0
    if not 0 < limit <= rows:
        given = f"--budget {options.budget}" if options.budget is not None else f"--size {options.size}"
        raise UsageError(f"{given} means {limit:,} of the pool's {rows:,} rows.", hint="Choose from 1 to all of them.")
    return None, limit


def _assets(options: StrategyOptions) -> Mapping[str, Path]:
    if options.target_features is None:
        raise UsageError(
            "Strategy simcore needs --target-features.",
            hint="Features of the target images by the model that made the pool's: .npz, .npy or .parquet.",
        )
    return {"target_features": options.target_features}


class _Ranks:
    """Rankings of the whole pool, to any depth. A killed run keeps the files that were compared."""

    def __init__(self, pool: MetadataPool, comparison: Comparison) -> None:
        self.missing = 0
        self._pool = pool
        self._comparison = comparison

    def to(self, depth: int) -> Ranking:
        """The ``depth`` best rows of each centroid."""
        pool, comparison = self._pool, self._comparison
        journal = Journal(comparison.folder / f"best{depth}.jsonl", pool.fingerprint)
        for name in journal.completed:
            if not comparison.part(depth, Path(name)).exists():
                journal.forget(name)
        stage = f"comparing with {len(comparison.centroids)} centroids"
        self.missing = sum(pool.map(partial(_rank_file, comparison, depth), stage, journal))
        return merge_rankings((_load_ranking(comparison.part(depth, path)) for path in pool.files), depth)


def _rank_file(comparison: Comparison, depth: int, path: Path) -> int:
    """Runs in a worker: one file's best rows go to a file; how many rows have no features comes back."""
    with one_thread_a_worker():
        ranking, missing = rank_shard(comparison.shards[path.name], comparison.centroids, depth, gpu_device())
    ranked = np.empty(ranking.rows.shape, dtype=_RANKED)
    ranked["score"], ranked["row"] = ranking.scores, ranking.rows
    with atomic_writer(comparison.part(depth, path)) as stream:
        write_npy(stream, ranked)
    return missing


def _load_ranking(path: Path) -> Ranking:
    ranked = np.load(path, allow_pickle=False)
    return Ranking(np.ascontiguousarray(ranked["row"]), np.ascontiguousarray(ranked["score"]))


SIMCORE = Strategy(
    "simcore",
    "SimCore: what is most similar to the centroids of target images, taken in rounds, to a budget or until it gets "
    "unlike them.",
    _select,
    accepts=(
        "target_features",
        "features",
        "num_clusters",
        "budget",
        "size",
        "stop",
        "tau",
        "reference_round",
        "cap",
        "seed",
    ),
    assets=_assets,
    defaults=DEFAULTS,
)
