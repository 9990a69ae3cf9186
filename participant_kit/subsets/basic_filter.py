"""DataComp's basic filter: English captions of some length, images of some size (Gadre et al., 2023, section 4.1)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import column_uids, read_columns
from participant_kit.subsets.language import captions, is_english, language_model
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions

MIN_SIDE = 200
MAX_ASPECT_RATIO = 3.0
MIN_CHARACTERS = 6
MIN_WORDS = 3


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    model = language_model(options.language_model)
    return pool.select(partial(_select_file, model), "filtering captions and image sizes")


def _select_file(model: Path, path: Path) -> SubsetResult:
    """Cheap tests first: language identification takes most of the time and sees only what is left."""
    table = read_columns(path, ["uid", "text", "original_width", "original_height"])
    sides = np.stack([_integers(table, "original_width"), _integers(table, "original_height")])
    short, long = sides.min(axis=0), sides.max(axis=0)
    funnel = Funnel(table.num_rows)
    funnel.keep(short >= MIN_SIDE, "image_too_small")
    funnel.keep(long[funnel.rows] / short[funnel.rows] <= MAX_ASPECT_RATIO, "image_too_narrow")
    texts = captions(table, funnel.rows)
    long_enough = np.fromiter((len(text) >= MIN_CHARACTERS for text in texts), dtype=bool, count=len(texts))
    funnel.keep(long_enough, "caption_too_short")
    texts = captions(table, funnel.rows)
    enough_words = np.fromiter((len(text.split()) >= MIN_WORDS for text in texts), dtype=bool, count=len(texts))
    funnel.keep(enough_words, "caption_has_few_words")
    funnel.keep(is_english(captions(table, funnel.rows), model), "caption_not_english")
    return funnel.result(column_uids(table, path))


def _integers(table: Any, column: str) -> NDArray[np.int64]:
    """A missing size is 0, which is too small."""
    values: NDArray[np.int64] = table.column(column).fill_null(0).combine_chunks().to_numpy(zero_copy_only=False)
    return values


BASIC_FILTER = Strategy(
    "basic_filter",
    "English captions of more than two words and five characters, on images of at least 200 px and aspect at most 3.",
    _select,
    accepts=("language_model",),
    assets=lambda options: {"language_model": language_model(options.language_model)},
)
