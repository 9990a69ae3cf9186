"""DataComp's basic filter: English captions of some length, images of some size (Gadre et al., 2023, section 4.1)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import column_uids, read_columns
from participant_kit.subsets.captions import FEW_WORDS, TOO_SHORT, Captions
from participant_kit.subsets.language import is_english, language_model
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
    width, height = _integers(table, "original_width"), _integers(table, "original_height")
    short, long = np.minimum(width, height), np.maximum(width, height)
    funnel = Funnel(table.num_rows)
    funnel.keep(short >= MIN_SIDE, "image_too_small")
    funnel.keep(long[funnel.rows] / short[funnel.rows] <= MAX_ASPECT_RATIO, "image_too_narrow")
    captions = Captions.of_table(table, path)
    sizes = captions.take(funnel.rows).sizes(MIN_CHARACTERS, MIN_WORDS)
    funnel.keep(sizes > TOO_SHORT, "caption_too_short")
    funnel.keep(sizes[sizes > TOO_SHORT] > FEW_WORDS, "caption_has_few_words")
    funnel.keep(is_english(captions.take(funnel.rows), model), "caption_not_english")
    return funnel.result(column_uids(table, path))


def _integers(table: Any, column: str) -> NDArray[np.int64]:
    """An integer column as an array; a missing value is 0 (a size of 0 is too small)."""
    values = table.column(column).combine_chunks()
    if values.null_count:
        values = values.fill_null(0)
    # Arrow's `to_numpy` would import pandas.
    integers: NDArray[Any] = np.from_dlpack(values)
    return integers


BASIC_FILTER = Strategy(
    "basic_filter",
    "English captions of more than two words and five characters, on images of at least 200 px and aspect at most 3.",
    _select,
    accepts=("language_model",),
    assets=lambda options: {"language_model": language_model(options.language_model)},
)
