"""DataComp's CLIP-score filter: keep the pairs whose image and caption a reference CLIP finds most alike."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from competition.data.metadata import column_floats, column_uids, read_columns
from competition.errors import UsageError
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, SubsetResult
from participant_kit.subsets.strategy import ARCHITECTURES, Strategy, StrategyOptions
from participant_kit.subsets.threshold import pool_threshold


def score_cut(pool: MetadataPool, options: StrategyOptions, strategy: str) -> tuple[str, np.float32]:
    """The score column that ``options`` mean, and the least score to keep: given, or by fraction of the whole pool.

    Raises:
        UsageError: no architecture, or not exactly one of fraction and threshold; names the strategy.
    """
    if options.arch is None:
        raise UsageError(f"Strategy {strategy} needs --arch.", hint=f"Choose one of: {', '.join(ARCHITECTURES)}.")
    if (options.fraction is None) == (options.threshold is None):
        raise UsageError(
            f"Strategy {strategy} needs exactly one of --fraction and --threshold.", hint="For example: --fraction 0.3"
        )
    column = f"clip_{options.arch}_similarity_score"
    if options.fraction is None:
        return column, np.float32(options.threshold)
    return column, pool_threshold(pool, column, options.fraction)


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    column, threshold = score_cut(pool, options, "clip_score")
    return pool.select(partial(_select_file, column, threshold), "filtering by score", quick=True)


def _select_file(column: str, threshold: np.float32, path: Path) -> SubsetResult:
    """The comparison is in float32: a stored float32(0.281) passes the threshold 0.281."""
    table = read_columns(path, ["uid", column])
    scores = column_floats(table, column)
    funnel = Funnel(table.num_rows)
    funnel.keep(~np.isnan(scores), "score_missing")
    funnel.keep(scores[funnel.rows] >= threshold, "score_too_low")
    return funnel.result(column_uids(table, path))


CLIP_SCORE = Strategy(
    "clip_score",
    "The pairs whose image and caption a reference CLIP finds most alike, by fraction of the pool or by score.",
    _select,
    accepts=("arch", "fraction", "threshold"),
)
