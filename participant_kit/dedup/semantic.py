"""Images of the same content: SemDeDup (Abbas et al., "SemDeDup: data-efficient learning at web-scale through semantic
deduplication", 2023) over a pool's features.

Images are grouped by k-means; only those of one cluster are compared. Two are duplicates when the cosine of their
features is above a threshold, 1 - epsilon in the paper. ``--linkage pair --keep outermost`` is the paper's own rule:
images of a cluster in the order of their distance from its centre, and one is dropped when it is like one before it.

Features never are in memory together. Rows that share a cluster are laid side by side in a file as large as the
features, and clusters are then worked on one by one. Whatever is finished survives a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder, storage_errors
from competition.data.engine import Workers
from competition.data.journal import Journal
from competition.data.metadata import read_feature
from competition.data.uids import forget_pages
from competition.errors import UsageError
from competition.progress import Progress, ProgressHook
from participant_kit.dedup.clusters import Batch, Shared, batches, link_batch
from participant_kit.dedup.groups import Rows
from participant_kit.dedup.keep import Keep, KeepRule, PoolRows, ranks_of, read_rows, rows_within
from participant_kit.dedup.pool_run import (
    Deduplicated,
    Found,
    Way,
    deduplicate,
    described,
    outside,
    resolved,
    subset_asset,
)
from participant_kit.dedup.spherical import spherical_kmeans
from participant_kit.dedup.unit import Floats, check_dimensions, check_threshold, feature_source, unit_rows
from participant_kit.subsets.centroids import nearest_centroids
from participant_kit.subsets.draw import lots
from participant_kit.subsets.pool import MetadataPool

PURPOSE = 5
DEFAULT_THRESHOLD = 0.95
ITERATIONS = 10
POINTS_PER_CLUSTER = 128

_ROWS_AT_A_TIME = 1 << 14
_NO_CLUSTER = -1


@dataclass(frozen=True, slots=True)
class SemanticOptions:
    """What counts as the same content.

    Args:
        threshold: a cosine, at least 0 and below 1; duplicates are above it.
        features: member of the npz.
        clusters: of k-means; about the square root of the number of rows when absent.
        seed: of the images that k-means learns from, 128 for each cluster, and of its first centres.
        by_pair: see ``Linkage``.
        within: a subset; the pool's other rows are no candidates, and k-means does not learn from them.
    """

    threshold: float = DEFAULT_THRESHOLD
    features: str = "l14_img"
    clusters: int | None = None
    seed: int = 0
    by_pair: bool = False
    within: Path | None = None

    def check(self) -> None:
        """Raises ``UsageError`` for a value out of range."""
        check_threshold(self.threshold)
        if (self.clusters is not None and self.clusters < 1) or self.seed < 0:
            raise UsageError("--num-clusters must be at least 1, and --seed not negative.")

    def cluster_count(self, rows: int) -> int:
        """How many clusters there are for so many rows.

        Raises:
            UsageError: more than rows.
        """
        wanted = max(1, round(rows**0.5)) if self.clusters is None else self.clusters
        if wanted > rows:
            raise UsageError(f"There are {rows:,} images for {wanted:,} clusters.", hint="Ask for fewer.")
        return wanted


def deduplicate_semantic(
    metadata_dir: Path,
    save_path: Path,
    rule: KeepRule,
    options: SemanticOptions,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> Deduplicated:
    """Keep one of all images of the same content; rows without finite features are dropped and counted.

    Errors as of ``deduplicate``.

    Raises:
        UsageError: a value is out of range, or there are fewer images than clusters.
        DataFormatError: features are absent, of several dimensions, or not L2-normalised.
    """
    options.check()
    said = {name: value for name, value in asdict(options).items() if name not in {"by_pair", "within"}}
    way = Way(
        "dedup_semantic",
        described(rule, by_pair=options.by_pair) | said | {"iterations": ITERATIONS},
        partial(_find, rule, options),
        subset_asset(options.within),
    )
    return deduplicate(way, metadata_dir, save_path, workers, progress)


def _find(rule: KeepRule, options: SemanticOptions, pool: MetadataPool) -> Found:
    assert pool.work_dir is not None
    work = pool.work_dir
    make_folder(work)
    rows = read_rows(pool, rule)
    inside = rows_within(options.within, rows.uids)
    candidates = np.flatnonzero(inside)
    clusters = options.cluster_count(len(candidates))
    once = _Once(pool, Journal(work / "journal.jsonl", pool.fingerprint))
    once.run("k-means", "grouping images", partial(_learn, options, clusters, rows, candidates, pool, work))
    assigned = _assign(options, pool, work)
    check_dimensions({path.stem: part["dimensions"] for path, part in zip(pool.files, assigned, strict=True)})
    labels = np.concatenate([np.load(_labels_path(work, path), allow_pickle=False) for path in pool.files])
    labels[~inside] = _NO_CLUSTER
    outward = rule.keep is Keep.OUTERMOST
    values = -np.concatenate([np.load(_near_path(work, path), allow_pickle=False) for path in pool.files])
    ranks = ranks_of(rows.uids, values.astype(np.float64)) if outward else rows.ranks()
    comparable = np.flatnonzero(labels != _NO_CLUSTER)
    order = comparable[np.argsort(labels[comparable], kind="stable")]
    once.run("lay out", "laying clusters side by side", partial(_lay_out, options, rows, order, pool, work))
    with atomic_writer(work / "ranks.npy") as stream:
        write_npy(stream, ranks[order])
    sizes = np.bincount(labels[comparable], minlength=clusters)
    groups, least, measures = _link(options, sizes, assigned[0], pool, work)
    missing = outside(options.within, inside) | {"features_missing": len(candidates) - len(comparable)}
    return resolved(rows, order, missing, "semantic_duplicate", (ranks[order], groups, least), measures)


@dataclass(frozen=True, slots=True)
class _Once:
    """Stages that are one task each, and are not done again when a killed run goes on."""

    pool: MetadataPool
    journal: Journal

    def run(self, name: str, stage: str, function: Callable[[str], None]) -> None:
        if name in self.journal.completed:
            return
        function(stage)
        self.journal.record(name, {})


def _learn(
    options: SemanticOptions,
    clusters: int,
    rows: PoolRows,
    candidates: Rows,
    pool: MetadataPool,
    work: Path,
    stage: str,
) -> None:
    """k-means of a sample whose rows are drawn by their uids; the order of files changes nothing."""
    wanted = min(len(candidates), POINTS_PER_CLUSTER * clusters)
    drawn = lots(rows.uids[candidates], options.seed, PURPOSE)
    chosen = candidates[np.argpartition(drawn, wanted - 1)[:wanted]]
    chosen = chosen[np.lexsort((rows.uids["f1"][chosen], rows.uids["f0"][chosen]))]
    points: Floats | None = None
    finite = np.zeros(wanted, dtype=bool)
    for number, path in enumerate(pool.files):
        low, high = rows.starts[number : number + 2]
        places = np.flatnonzero((chosen >= low) & (chosen < high))
        stored = read_feature(path, options.features, rows=int(high - low))
        if points is None:
            points = np.zeros((wanted, stored.shape[1]), dtype=np.float32)
        check_dimensions({pool.files[0].stem: points.shape[1], path.stem: stored.shape[1]})
        for start in range(0, len(places), _ROWS_AT_A_TIME):
            part = places[start : start + _ROWS_AT_A_TIME]
            points[part], finite[part] = unit_rows(stored[chosen[part] - low], feature_source(path, options.features))
        forget_pages(stored)
    assert points is not None
    usable = points if finite.all() else points[finite]
    if len(usable) < clusters:
        raise UsageError(
            f"There are {len(usable):,} images with features for {clusters:,} clusters.", hint="Ask for fewer."
        )
    centres = spherical_kmeans(usable, clusters, ITERATIONS, options.seed, _teller(stage, pool.progress))
    with atomic_writer(work / "centres.npy") as stream:
        write_npy(stream, centres)


def _teller(stage: str, progress: ProgressHook | None) -> Callable[[int], None]:
    def told(done: int) -> None:
        if progress is not None:
            progress(Progress(stage, done, ITERATIONS))

    return told


def _assign(options: SemanticOptions, pool: MetadataPool, work: Path) -> list[dict[str, Any]]:
    journal = Journal(work / "assigned.jsonl", pool.fingerprint)
    for name in journal.completed:
        if not (_labels_path(work, Path(name)).exists() and _near_path(work, Path(name)).exists()):
            journal.forget(name)
    return pool.map(partial(_assign_file, options.features, work), "finding clusters", journal)


def _assign_file(member: str, work: Path, path: Path) -> dict[str, Any]:
    """Each row's cluster, int32, -1 where the features are not finite, and its cosine with the centre, float32."""
    centres = np.load(work / "centres.npy", allow_pickle=False)
    stored = read_feature(path, member)
    check_dimensions({path.stem: stored.shape[1], "the sample": centres.shape[1]})
    labels = np.full(len(stored), _NO_CLUSTER, dtype=np.int32)
    near = np.full(len(stored), np.nan, dtype=np.float32)
    for start in range(0, len(stored), _ROWS_AT_A_TIME):
        part = slice(start, start + _ROWS_AT_A_TIME)
        points, finite = unit_rows(stored[part], feature_source(path, member))
        found = nearest_centroids(points, centres)
        labels[part] = np.where(finite, found, _NO_CLUSTER)
        near[part] = np.where(finite, np.einsum("ij,ij->i", points, centres[found]), np.nan)
        forget_pages(stored)
    for target, array in ((_labels_path(work, path), labels), (_near_path(work, path), near)):
        with atomic_writer(target) as stream:
            write_npy(stream, array)
    return {"dimensions": int(stored.shape[1]), "dtype": stored.dtype.str}


def _labels_path(work: Path, path: Path) -> Path:
    return work / f"{path.stem}.labels.npy"


def _near_path(work: Path, path: Path) -> Path:
    return work / f"{path.stem}.near.npy"


def _lay_out(options: SemanticOptions, rows: PoolRows, order: Rows, pool: MetadataPool, work: Path, stage: str) -> None:
    """Write the features of all rows in ``order``, each cluster's together, block by block to where they belong."""
    places = np.full(len(rows.uids), -1, dtype=np.int64)
    places[order] = np.arange(len(order))
    target = work / "clustered.raw"
    with storage_errors("writing", target), target.open("wb") as stream:
        for number, path in enumerate(pool.files):
            low, high = rows.starts[number : number + 2].tolist()
            stored = read_feature(path, options.features, rows=high - low)
            for start in range(0, high - low, _ROWS_AT_A_TIME):
                block = stored[start : start + _ROWS_AT_A_TIME]
                _write_rows(stream, block, places[low + start : low + start + len(block)])
                forget_pages(stored)
            if pool.progress is not None:
                pool.progress(Progress(stage, number + 1, len(pool.files), 0, path.name))


def _write_rows(stream: Any, block: NDArray[Any], places: Rows) -> None:
    """Each row goes to its place in the file, rows with neighbouring places in one go; a negative place is nowhere."""
    order = np.argsort(places, kind="stable")
    order = order[np.searchsorted(places[order], 0) :]
    ordered, goals = block[order], places[order]
    edges = np.concatenate([[0], np.flatnonzero(np.diff(goals) != 1) + 1, [len(goals)]]).tolist()
    size = block.shape[1] * block.dtype.itemsize
    for start, stop in pairwise(edges):
        if stop > start:
            stream.seek(int(goals[start]) * size)
            stream.write(ordered[start:stop].tobytes())


def _link(
    options: SemanticOptions, sizes: Rows, kind: Mapping[str, Any], pool: MetadataPool, work: Path
) -> tuple[Rows, Rows, NDArray[np.float32]]:
    """For each row in clustered order: a row of its group, the rank that stays, and its largest cosine with another."""
    shared = Shared(work, kind["dtype"], kind["dimensions"], options.threshold, options.by_pair)
    tasks = {batch.name: batch for batch in batches(sizes)}
    journal = Journal(work / "linked.jsonl", pool.fingerprint)
    for name in journal.completed:
        if name in tasks and not shared.result_path(tasks[name]).exists():
            journal.forget(name)
    pool.engine.map(
        partial(link_batch, shared), tasks, stage="comparing images", journal=journal, progress=pool.progress
    )
    parts: list[tuple[Batch, Mapping[str, Any]]] = []
    for batch in tasks.values():
        with np.load(shared.result_path(batch), allow_pickle=False) as content:
            parts.append((batch, dict(content)))
    empty: dict[str, Any] = {"labels": np.int64, "least": np.int64, "measures": np.float32}
    joined = [np.concatenate([np.zeros(0, kind), *(part[name] for _, part in parts)]) for name, kind in empty.items()]
    return joined[0], joined[1], joined[2]
