"""English captions, and of those the pairs that a reference CLIP finds most alike.

A model of one text tower and a short training learns one language at a time: pairs in another language, however well
matched, cost it batches. The score's threshold is that of the whole pool, as in DataComp's intersections of filters.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from competition.data.metadata import column_floats, column_uids, read_columns
from participant_kit.subsets.language import captions, is_english, language_model
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions
from participant_kit.subsets.threshold import pool_threshold

DEFAULT_ARCH = "l14"
DEFAULT_FRACTION = 0.4


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    column = f"clip_{options.arch or DEFAULT_ARCH}_similarity_score"
    fraction = DEFAULT_FRACTION if options.fraction is None else options.fraction
    threshold = pool_threshold(pool, column, fraction)
    model = language_model(options.language_model)
    return pool.select(partial(_select_file, column, threshold, model), "filtering by score and language")


def _select_file(column: str, threshold: np.float32, model: Path, path: Path) -> SubsetResult:
    """The score first: it is cheap, and language identification then sees only what is left."""
    table = read_columns(path, ["uid", "text", column])
    scores = column_floats(table, column)
    funnel = Funnel(table.num_rows)
    funnel.keep(~np.isnan(scores), "score_missing")
    funnel.keep(scores[funnel.rows] >= threshold, "score_too_low")
    funnel.keep(is_english(captions(table, funnel.rows), model), "caption_not_english")
    return funnel.result(column_uids(table, path))


CLIP_SCORE_ENGLISH = Strategy(
    "clip_score_english",
    "English captions among the best-scored 40 % of the pool (or another fraction of it).",
    _select,
    accepts=("arch", "fraction", "language_model"),
    assets=lambda options: {"language_model": language_model(options.language_model)},
)
