"""The best of every cluster, up to one quota for all: kinds of images that a pool has by the million give no more than
rarer ones.

An image belongs to the cluster whose centre has the largest inner product with its feature, as in ``image_based``.
The quota is the number at which the clusters together give what is asked for: those with fewer images give all (water
is filled into vessels of different height). In a cluster the largest values of ``--by`` are kept, or those that a draw
by ``--seed`` finds; ties by lot.

Rows are kept on the disk, 36 bytes each. Some clusters at a time, as many as have 32 million rows, are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import read_uids
from competition.data.vector_source import VectorShard, VectorSource, check_same_model
from competition.errors import UsageError
from participant_kit.subsets.budget import Budget
from participant_kit.subsets.centroids import load_centroids, nearest_centroids
from participant_kit.subsets.draw import lots
from participant_kit.subsets.numbers import read_numbers
from participant_kit.subsets.parts import Part, Parts, load_part
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.quotas import even_quotas
from participant_kit.subsets.ranking import Keys, float_keys
from participant_kit.subsets.result import Funnel, SubsetResult, sum_dropped
from participant_kit.subsets.strategy import Strategy, StrategyOptions

NAME = "cluster_quota"
DEFAULTS: Mapping[str, Any] = {"features": "l14_img", "seed": 0}
PURPOSE = 7

_NO_CLUSTER = np.int32(-1)
_ROWS_IN_MEMORY = 1 << 25
_NOTHING = np.uint64(np.iinfo(np.uint64).max)
"""A key above that of every number."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grouping:
    """What a worker needs to sort a metadata file's rows into clusters.

    Args:
        shards: the files' features, by name of the metadata file.
        centroids: the cluster centres' file.
        by: column that says which rows of a cluster are best; a draw when absent.
        seed: of the lots.
    """

    shards: Mapping[str, VectorShard]
    centroids: Path
    by: str | None
    seed: int


@dataclass(frozen=True, slots=True)
class Cuts:
    """Of every cluster the last row that is kept: rows with a greater key, or its key and no greater lot, are kept."""

    keys: Keys
    lots: NDArray[np.uint64]


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    options = CLUSTER_QUOTA.complete(options)
    assert options.features is not None
    assert options.seed is not None
    budget, centroids = Budget.of(options, NAME), _assets(options)["centroids"]
    clusters = len(load_centroids(centroids))
    source = VectorSource.of_metadata(pool.files, options.features)
    check_same_model(VectorShard.open(centroids), source.shards[0])
    shards = {path.name: shard for path, shard in zip(pool.files, source.shards, strict=True)}
    grouping = Grouping(shards, centroids, options.by, options.seed)
    with pool.working() as working:
        assert working.work_dir is not None
        folder = working.work_dir / "clusters"
        parts = Parts(replace(working, work_dir=folder), partial(_group_file, grouping), "grouping images")
        missing = sum_dropped([facts["dropped"] for facts in parts.facts])
        sizes = _sizes(parts, clusters)
        lacking = "features" if options.by is None else f"features and {options.by}"
        quotas = even_quotas(sizes, budget.rows(source.rows, int(sizes.sum()), lacking))
        cuts = find_cuts(parts, sizes, quotas)
        keep = partial(_keep_file, folder, cuts)
        result = working.select(keep, "keeping the best of each cluster", quick=True)
    details = {
        "clusters": clusters,
        "empty_clusters": int(np.count_nonzero(sizes == 0)),
        "quota": int(quotas.max()),
        "clusters_below_quota": int(np.count_nonzero(sizes < quotas.max())),
    }
    return replace(result, dropped=missing | {"over_quota": result.dropped["over_quota"]}, details=details)


def find_cuts(parts: Parts, sizes: Counts, quotas: Counts, rows_in_memory: int = _ROWS_IN_MEMORY) -> Cuts:
    """The last row that each cluster keeps.

    Args:
        parts: of the files, as ``_group_file`` makes them.
        sizes: rows of each cluster.
        quotas: rows that it keeps, not more.
        rows_in_memory: clusters are sorted as many at a time as have so many rows, or one with more.
    """
    cuts = Cuts(np.full(len(sizes), _NOTHING), np.zeros(len(sizes), dtype=np.uint64))
    for low, high in _batches(sizes, rows_in_memory):
        clusters, keys, drawn = _of_clusters(parts, low, high)
        order = np.lexsort((drawn, ~keys, clusters))
        starts = np.cumsum(sizes[low:high]) - sizes[low:high]
        filled = np.flatnonzero(quotas[low:high])
        last = order[starts[filled] + quotas[low + filled] - 1]
        cuts.keys[low + filled], cuts.lots[low + filled] = keys[last], drawn[last]
    return cuts


def _batches(sizes: Counts, rows_in_memory: int) -> Iterator[tuple[int, int]]:
    low, held = 0, 0
    for number, size in enumerate(sizes.tolist()):
        if held and held + size > rows_in_memory:
            yield low, number
            low, held = number, 0
        held += size
    yield low, len(sizes)


def _of_clusters(parts: Parts, low: int, high: int) -> tuple[NDArray[np.int32], Keys, NDArray[np.uint64]]:
    """Clusters, keys and lots of the rows in clusters from ``low`` to below ``high``."""
    found = []
    for part in parts:
        inside = (part["clusters"] >= low) & (part["clusters"] < high)
        found.append((part["clusters"][inside], part["keys"][inside], part["lots"][inside]))
    clusters, keys, drawn = (np.concatenate(each) for each in zip(*found, strict=True))
    return clusters, keys, drawn


def _sizes(parts: Parts, clusters: int) -> Counts:
    sizes = np.zeros(clusters, dtype=np.int64)
    for part in parts:
        sizes += np.bincount(part["clusters"][part["clusters"] != _NO_CLUSTER], minlength=clusters)
    return sizes


def _group_file(grouping: Grouping, path: Path) -> Part:
    """Rows without what they are chosen by have no cluster."""
    shard = grouping.shards[path.name]
    clusters = np.full(shard.rows, _NO_CLUSTER, dtype=np.int32)
    centroids = load_centroids(grouping.centroids)
    for rows, vectors in shard.blocks(skip_missing=True):
        clusters[rows - shard.start] = nearest_centroids(vectors, centroids)
    funnel = Funnel(shard.rows)
    funnel.keep(clusters != _NO_CLUSTER, "features_missing")
    if grouping.by is None:
        uids, keys = read_uids(path), np.zeros(shard.rows, dtype=np.uint64)
    else:
        uids, (values,) = read_numbers(path, [grouping.by])
        funnel.keep(~np.isnan(values[funnel.rows]), "score_missing")
        clusters[np.isnan(values)] = _NO_CLUSTER
        keys = float_keys(np.where(np.isnan(values), 0.0, values))
    arrays = {"uids": uids, "clusters": clusters, "keys": keys, "lots": lots(uids, grouping.seed, PURPOSE)}
    return Part(arrays, {"dropped": funnel.dropped})


def _keep_file(folder: Path, cuts: Cuts, path: Path) -> SubsetResult:
    """Rows without a cluster were counted when it was looked for; here they only have to leave."""
    part = load_part(folder, path)
    funnel = Funnel(len(part["uids"]))
    funnel.keep(part["clusters"] != _NO_CLUSTER, "no_cluster")
    clusters, keys, drawn = (part[name][funnel.rows] for name in ("clusters", "keys", "lots"))
    last = cuts.keys[clusters]
    funnel.keep((keys > last) | ((keys == last) & (drawn <= cuts.lots[clusters])), "over_quota")
    return funnel.result(part["uids"])


def _assets(options: StrategyOptions) -> Mapping[str, Path]:
    if options.centroids is None:
        raise UsageError(
            f"Strategy {NAME} needs --centroids.", hint="Make centroids of your pool with `datacup pool cluster`."
        )
    return {"centroids": options.centroids}


CLUSTER_QUOTA = Strategy(
    NAME,
    "The best of every cluster of images by a metadata column, or drawn, up to one quota that all clusters share.",
    _select,
    accepts=("centroids", "features", "by", "fraction", "size", "seed"),
    assets=_assets,
    defaults=DEFAULTS,
)
