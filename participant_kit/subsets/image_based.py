"""DataComp's image-based filter: images that look like those of a target set (Gadre et al., 2023, section 4.1).

The pool's images are grouped by k-means (``datacup pool cluster``). A group is wanted when it holds a target image, by
default one of ImageNet-1k's training images; the filter keeps the pairs with a good caption (see ``caption_filter``)
whose image is in a wanted group. DataComp's best baseline asks for a CLIP score too: by fraction of the whole pool, or
by a threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import column_floats, column_uids, read_columns, read_feature
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.assets import TARGET_FEATURES, centroids_asset, find_asset
from participant_kit.subsets.caption_filter import keep_good_captions
from participant_kit.subsets.captions import Captions
from participant_kit.subsets.centroids import check_features, load_centroids, nearest_centroids
from participant_kit.subsets.clip_score import score_cut
from participant_kit.subsets.language import language_model
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions
from participant_kit.subsets.targets import target_clusters

FEATURES = "l14_img"

_NO_CLUSTER = -1
_ROWS_AT_A_TIME = 1 << 15


@dataclass(frozen=True, slots=True)
class ImageTest:
    """What a worker needs to know which images are wanted.

    Args:
        model: fastText's language model.
        centroids: the cluster centres' file.
        wanted: mask over the clusters.
    """

    model: Path
    centroids: Path
    wanted: NDArray[np.bool_]

    @classmethod
    def of(cls, options: StrategyOptions, progress: ProgressHook | None) -> ImageTest:
        """Find the assets and assign the target images to clusters."""
        assets = image_assets(options)
        wanted = target_clusters(assets["target_features"], assets["centroids"], progress)
        return cls(assets["language_model"], assets["centroids"], wanted)

    def keep(self, funnel: Funnel, path: Path) -> NDArray[np.int64]:
        """Keep the rows with a good caption and an image in a wanted cluster; their clusters, one for each such row.

        Rows without a finite feature are counted as ``features_missing``, the others as ``image_unlike_targets``.
        """
        keep_good_captions(funnel, Captions.of_table(read_columns(path, ["text"]), path), self.model)
        centroids = load_centroids(self.centroids)
        stored = read_feature(path, FEATURES, rows=funnel.total)
        check_features(stored, centroids, f"The features {FEATURES!r} of {path.stem}.npz", self.centroids)
        clusters = np.full(len(funnel.rows), _NO_CLUSTER, dtype=np.int64)
        for start in range(0, len(clusters), _ROWS_AT_A_TIME):
            features = stored[funnel.rows[start : start + _ROWS_AT_A_TIME]]
            finite = start + np.flatnonzero(np.isfinite(features).all(axis=1))
            clusters[finite] = nearest_centroids(features[finite - start], centroids)
        assigned = clusters != _NO_CLUSTER
        funnel.keep(assigned, "features_missing")
        clusters = clusters[assigned]
        funnel.keep(self.wanted[clusters], "image_unlike_targets")
        kept: NDArray[np.int64] = clusters[self.wanted[clusters]]
        return kept


def image_assets(options: StrategyOptions) -> Mapping[str, Path]:
    """Language model, centroids and target features.

    Raises:
        UsageError: neither centroids nor a scale is named, or both are; or a file is absent.
    """
    if (options.centroids is None) == (options.image_based_scale is None):
        raise UsageError(
            "An image-based strategy needs exactly one of --centroids and --image-based-scale.",
            hint="Make centroids of your pool with `datacup pool cluster`, or name the scale of DataComp's own.",
        )
    scale = options.image_based_scale or ""
    return {
        "language_model": language_model(options.language_model),
        "centroids": find_asset(centroids_asset(scale), options.centroids),
        "target_features": find_asset(TARGET_FEATURES, options.target_features),
    }


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    return pool.select(
        partial(_select_file, ImageTest.of(options, pool.progress), None), "comparing images with the targets"
    )


def _select_with_score(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    test = ImageTest.of(options, pool.progress)
    cut = score_cut(pool, options, "image_based_intersect_clip_score")
    return pool.select(partial(_select_file, test, cut), "comparing images with the targets")


def _select_file(test: ImageTest, cut: tuple[str, np.float32] | None, path: Path) -> SubsetResult:
    """The score before the caption, the caption before the image: from cheap to dear."""
    table = read_columns(path, ["uid"] if cut is None else ["uid", cut[0]])
    funnel = Funnel(table.num_rows)
    if cut is not None:
        column, threshold = cut
        scores = column_floats(table, column)
        funnel.keep(~np.isnan(scores), "score_missing")
        funnel.keep(scores[funnel.rows] >= threshold, "score_too_low")
    test.keep(funnel, path)
    return funnel.result(column_uids(table, path))


IMAGE_OPTIONS = ("image_based_scale", "centroids", "target_features", "language_model")

IMAGE_BASED = Strategy(
    "image_based",
    "English captions of some length, on images of a cluster that holds a target image, ImageNet-1k's by default.",
    _select,
    accepts=IMAGE_OPTIONS,
    assets=image_assets,
)

IMAGE_BASED_INTERSECT_CLIP_SCORE = Strategy(
    "image_based_intersect_clip_score",
    "image_based among the pairs that clip_score keeps: DataComp's best baseline.",
    _select_with_score,
    accepts=("arch", "fraction", "threshold", *IMAGE_OPTIONS),
    assets=image_assets,
)
