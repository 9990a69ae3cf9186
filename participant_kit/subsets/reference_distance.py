"""DataComp's "ImageNet distance": the images that are most like one of a reference set (Gadre et al., 2023, appendix).

A row's distance is one minus the largest cosine of its image's feature and those of the references, by default OpenAI's
L/14 features of ImageNet-1k's training images, and the nearest share of the pool is kept. With ``--neighbours`` K the
K-th nearest reference counts instead, so that a single odd reference attracts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import read_uids
from competition.data.npz import member_names
from competition.data.vector_parquet import vector_columns
from competition.data.vector_search import exact_neighbours
from competition.data.vector_source import Floats, Rows, VectorShard, VectorSource, check_same_model
from competition.errors import DataFormatError, UsageError
from participant_kit.assets import TARGET_FEATURES, find_asset
from participant_kit.subsets.best import Scored, select_best
from participant_kit.subsets.budget import Budget
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions

NAME = "reference_distance"
DEFAULTS: Mapping[str, Any] = {"features": "l14_img", "neighbours": 1}

_RIVALS = 8
_GROWTH = 8
_PRODUCTS_AT_A_TIME = 1 << 21


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a worker needs to compare a metadata file with the references.

    Args:
        shards: the files' features, by name of the metadata file.
        references: where they are.
        neighbours: which of the nearest counts.
    """

    shards: Mapping[str, VectorShard]
    references: VectorSource
    neighbours: int


def open_references(path: Path, member: str, like: VectorShard) -> VectorSource:
    """Features of references: of several arrays of an npz the one of this name, or all where none has it, as in
    DataComp's own of ImageNet-1k.

    Args:
        path: npz, npy or parquet.
        member: see above.
        like: from the same model.

    Raises:
        DataFormatError: no rows, a row that is not finite or not of length 1, another model, or a damaged file.
        UsageError: not a file of features.
        StorageError: it cannot be read.
    """
    names: list[str | None] = [member]
    if path.suffix == ".npz" and member not in (found := member_names(path)):
        names = list(found) or names
    elif path.suffix == ".parquet" and member not in vector_columns(path):
        names = [None]
    shards: list[VectorShard] = []
    for name in names:
        start = shards[-1].start + shards[-1].rows if shards else 0
        shards.append(replace(VectorShard.open(path, name), start=start))
        check_same_model(shards[-1], like)
    if not sum(len(rows) for shard in shards for rows, _ in shard.blocks()):
        raise DataFormatError(f"The features {path.name} have no rows.")
    return VectorSource(tuple(shards))


def kth_similarities(queries: Floats, references: VectorSource, k: int) -> NDArray[np.float64]:
    """The cosine of each query and its k-th nearest reference: float64 of shape (queries,).

    The search is in float32. Its first ``k`` and some rivals are compared again in float64, and further ones where a
    reference beyond them could still be nearer, so that the answer depends neither on how queries are cut into blocks
    nor on the machine's matrix product.
    """
    similarities = np.empty(len(queries))
    unsure, depth = np.arange(len(queries)), min(k + _RIVALS, references.rows)
    # A float32 inner product of vectors of length 1 is off by less, in whatever order it sums.
    slack = 1.05 * references.dimensions * float(np.finfo(np.float32).eps)
    while len(unsure):
        found = exact_neighbours(references, queries[unsure], depth)
        kth = np.sort(_products(queries[unsure], found.rows, references), axis=1)[:, depth - k]
        certain = (kth >= found.similarities[:, -1] + slack) | (depth == references.rows)
        similarities[unsure[certain]] = kth[certain]
        unsure, depth = unsure[~certain], min(depth * _GROWTH, references.rows)
    return similarities


def _products(queries: Floats, rows: Rows, references: VectorSource) -> NDArray[np.float64]:
    """Inner products in float64 of each query and its rows, as these."""
    products = np.empty(rows.shape)
    step = max(1, _PRODUCTS_AT_A_TIME // (rows.shape[1] * references.dimensions))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        vectors = references.take(rows[part].reshape(-1)).astype(np.float64).reshape(*rows[part].shape, -1)
        products[part] = (vectors * queries[part, None].astype(np.float64)).sum(axis=2)
    return products


def _assets(options: StrategyOptions) -> Mapping[str, Path]:
    return {"target_features": find_asset(TARGET_FEATURES, options.target_features)}


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    options = REFERENCE_DISTANCE.complete(options)
    assert options.features is not None
    assert options.neighbours is not None
    budget = Budget.of(options, NAME)
    source = VectorSource.of_metadata(pool.files, options.features)
    references = open_references(_assets(options)["target_features"], options.features, source.shards[0])
    if options.neighbours > references.rows:
        raise UsageError(f"--neighbours {options.neighbours} is more than the {references.rows:,} target images.")
    shards = {path.name: shard for path, shard in zip(pool.files, source.shards, strict=True)}
    score = partial(_score_file, Comparison(shards, references, options.neighbours))
    result = select_best(pool, score, budget, "comparing images with the targets", "features")
    return replace(result, details={**result.details, "targets": references.rows})


def _score_file(comparison: Comparison, path: Path) -> Scored:
    shard, uids = comparison.shards[path.name], read_uids(path)
    scores = np.full(shard.rows, np.nan)
    for rows, vectors in shard.blocks(skip_missing=True):
        scores[rows - shard.start] = kth_similarities(vectors, comparison.references, comparison.neighbours)
    return Scored(uids, scores, {"features_missing": int(np.isnan(scores).sum())})


REFERENCE_DISTANCE = Strategy(
    NAME,
    "DataComp's \"ImageNet distance\": the images most like one of the target images, ImageNet-1k's by default.",
    _select,
    accepts=("target_features", "features", "neighbours", "fraction", "size"),
    assets=_assets,
    defaults=DEFAULTS,
)
