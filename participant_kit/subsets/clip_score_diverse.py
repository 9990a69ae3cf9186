"""Well-matched pairs of images that do not look alike, spread over kinds of images.

Three steps, none of which knows a language, a label or a list of words:

1. Rank pairs by how much better the caption fits its own image than other images, and the image its own caption than
   other captions: the CLIP score normalised by the contrastive loss (negCLIPLoss: Wang et al., "CLIPLoss and Norm-Based
   Data Selection Methods for Multimodal Contrastive Learning", 2024). A caption that fits everything a little, as web
   junk does, scores well by CLIP and badly here. Keep the best fraction.
2. Group the images by k-means and drop, inside each group, every image whose feature lies within a cosine of 0.97 of a
   better-ranked one's (SemDeDup: Abbas et al., 2023). These are semantic duplicates: what the reference model can
   hardly tell apart. Copies are among them, but most are other pictures of the same thing: in the digits pool five of
   six such pairs are renderings of one original.
3. Let no group be larger than twice the average one; its best-ranked pairs stay.

Steps 2 and 3 hold the kept rows' features in memory: about 4 KB a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import read_feature, read_uids
from competition.data.uids import UidArray, sort_uids
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, SubsetResult, sum_dropped
from participant_kit.subsets.strategy import Strategy, StrategyOptions
from participant_kit.subsets.threshold import fraction_threshold

DEFAULT_ARCH = "l14"
DEFAULT_FRACTION = 0.5
TEMPERATURE = 0.01
BATCH = 4096
DUPLICATE_SIMILARITY = 0.97
LARGEST_GROUP = 2.0
KMEANS_ROUNDS = 10
KMEANS_SEED = 0
_BLOCK = 1024

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Rows of one file that passed step 1."""

    uids: UidArray
    ranks: Floats
    images: Floats
    total: int
    dropped: dict[str, int]


def contrastive_scores(images: Floats, texts: Floats, order: NDArray[np.int64]) -> Floats:
    """negCLIPLoss of every pair: its similarity minus what it shares with the other pairs of its batch.

    Args:
        images: (rows, dimensions), L2-normalised.
        texts: same shape.
        order: a permutation of the rows; its runs of about ``BATCH`` rows, all equally long, are compared within.

    Returns:
        float32 of shape (rows,), the mean over a batch of what is shared taken off, so that batches of any size
        compare; NaN where a feature is not finite.
    """
    scores = np.full(len(images), np.nan, dtype=np.float32)
    finite = np.isfinite(images.sum(axis=1) + texts.sum(axis=1))
    usable = order[finite[order]]
    if not len(usable):
        return scores
    for rows in np.array_split(usable, -(-len(usable) // BATCH)):
        similarity = images[rows] @ texts[rows].T / TEMPERATURE
        shared = (_log_mean_exp(similarity, 1) + _log_mean_exp(similarity, 0)) / 2
        scores[rows] = TEMPERATURE * (np.diagonal(similarity) - shared)
    return scores


def spherical_kmeans(points: Floats, clusters: int, seed: int, rounds: int) -> NDArray[np.int64]:
    """Cluster of each L2-normalised point, by cosine; int64 of shape (rows,). An empty cluster keeps its centre."""
    generator = np.random.default_rng(seed)
    centres = points[np.sort(generator.choice(len(points), size=clusters, replace=False))]
    labels = np.zeros(len(points), dtype=np.int64)
    for _ in range(rounds):
        labels = _nearest(points, centres)
        order = np.argsort(labels, kind="stable")
        present, starts = np.unique(labels[order], return_index=True)
        centres = centres.copy()
        centres[present] = _normalised(np.add.reduceat(points[order], starts, axis=0))
    return _nearest(points, centres)


def near_duplicates(points: Floats, similarity: float) -> NDArray[np.bool_]:
    """Mask of the points that are closer than ``similarity`` (cosine) to an earlier point that is not itself marked."""
    marked = np.zeros(len(points), dtype=bool)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        earlier = points[:start][~marked[:start]]
        near_earlier = (block @ earlier.T > similarity).any(axis=1)
        close = np.tril(block @ block.T > similarity, -1)
        here = marked[start : start + _BLOCK]
        here |= near_earlier
        for row in np.flatnonzero(close.any(axis=1) & ~near_earlier):
            here[row] = bool((close[row, :row] & ~here[:row]).any())
    return marked


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    arch = options.arch or DEFAULT_ARCH
    fraction = DEFAULT_FRACTION if options.fraction is None else options.fraction
    names = [path.name for path in pool.files]
    scores = dict(zip(names, pool.map(partial(_file_scores, arch), "comparing images and captions"), strict=True))
    threshold = fraction_threshold(np.concatenate(list(scores.values())), fraction)
    parts = pool.map(partial(_candidates, arch, threshold, scores), "collecting the best pairs")
    total = sum(part.total for part in parts)
    dropped = sum_dropped([part.dropped for part in parts])
    uids = np.concatenate([part.uids for part in parts])
    ranks = np.concatenate([part.ranks for part in parts])
    images = np.concatenate([part.images for part in parts])
    # Best first; ties by uid, so that the order of the files never matters.
    best_first = np.lexsort((uids["f1"], uids["f0"], -ranks))
    funnel = _thin_out(images[best_first])
    kept = uids[best_first][funnel.rows]
    return SubsetResult(sort_uids(kept), total, dropped | funnel.dropped)


def _thin_out(images: Floats) -> Funnel:
    """Steps 2 and 3 on rows that come best first."""
    funnel = Funnel(len(images))
    if not len(images):
        return funnel
    clusters = max(1, round(np.sqrt(len(images))))
    labels = spherical_kmeans(images, clusters, KMEANS_SEED, KMEANS_ROUNDS)
    duplicate = np.zeros(len(images), dtype=bool)
    for label in range(clusters):
        members = np.flatnonzero(labels == label)
        duplicate[members] = near_duplicates(images[members], DUPLICATE_SIMILARITY)
    funnel.keep(~duplicate, "near_duplicate")
    labels = labels[funnel.rows]
    limit = int(np.ceil(LARGEST_GROUP * len(labels) / clusters))
    funnel.keep(_place_in_group(labels) < limit, "group_too_large")
    return funnel


def _place_in_group(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many earlier rows have the same label."""
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    places = np.empty(len(labels), dtype=np.int64)
    places[order] = np.arange(len(labels)) - np.repeat(starts, counts)
    return places


def _file_scores(arch: str, path: Path) -> Floats:
    """Batches follow the order of uids, which are hashes: random, and the same whatever the order of the rows."""
    uids = read_uids(path)
    images, texts = (_normalised(read_feature(path, f"{arch}_{side}", rows=len(uids))) for side in ("img", "txt"))
    return contrastive_scores(images, texts, np.lexsort((uids["f1"], uids["f0"])))


def _candidates(arch: str, threshold: np.float32, scores: dict[str, Floats], path: Path) -> _Candidates:
    uids, ranks = read_uids(path), scores[path.name]
    funnel = Funnel(len(uids))
    funnel.keep(~np.isnan(ranks), "features_missing")
    funnel.keep(ranks[funnel.rows] >= threshold, "match_too_weak")
    images = _normalised(read_feature(path, f"{arch}_img", rows=len(uids))[funnel.rows])
    return _Candidates(uids[funnel.rows], ranks[funnel.rows], images, len(uids), funnel.dropped)


def _nearest(points: Floats, centres: Floats) -> NDArray[np.int64]:
    blocks = range(0, len(points), _BLOCK)
    return np.concatenate([(points[start : start + _BLOCK] @ centres.T).argmax(axis=1) for start in blocks])


def _normalised(vectors: NDArray[Any]) -> Floats:
    """L2-normalised float32 rows; a zero vector stays zero."""
    wide = vectors.astype(np.float32)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    norms[norms == 0] = 1
    return np.asarray(wide / norms, dtype=np.float32)


def _log_mean_exp(values: Floats, axis: int) -> Floats:
    largest = values.max(axis=axis, keepdims=True)
    return np.asarray(np.log(np.exp(values - largest).mean(axis=axis)) + largest.squeeze(axis), dtype=np.float32)


CLIP_SCORE_DIVERSE = Strategy(
    "clip_score_diverse",
    "Pairs that match far better than chance; of images that look alike to a reference CLIP only one, and no kind of "
    "image more than twice its share.",
    _select,
    accepts=("arch", "fraction"),
)
