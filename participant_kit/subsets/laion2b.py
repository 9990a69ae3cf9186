"""DataComp's reproduction of LAION-2B's filter: English by CLD3, and a CLIP B/32 score of at least 0.28.

Schuhmann et al., "LAION-5B" (2022). CLD3 comes as the package ``gcld3``, which has no wheels: it is built where
protobuf's compiler and headers are, and is not part of ``datacup[kit]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import column_floats, column_uids, read_columns
from competition.errors import UsageError
from participant_kit.subsets.captions import Captions
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions

SCORE_COLUMN = "clip_b32_similarity_score"
MIN_SCORE = np.float32(0.28)
MIN_BYTES = 0
MAX_BYTES = 1000


def _tools() -> Mapping[str, str]:
    """CLD3 by its version; raises ``UsageError`` where it is not installed."""
    try:
        return {"language": f"gcld3 {version('gcld3')}"}
    except PackageNotFoundError:
        raise UsageError(
            "Strategy laion2b needs the package gcld3, which is not installed.",
            hint="Install protobuf's compiler and headers (Debian: protobuf-compiler, libprotobuf-dev; and g++), "
            "then run `pip install gcld3`.",
        ) from None


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:  # noqa: ARG001 - a strategy's signature
    _tools()
    return pool.select(_select_file, "filtering by score and language")


def _select_file(path: Path) -> SubsetResult:
    """The score first: it is cheap. The comparison is in float32."""
    table = read_columns(path, ["uid", "text", SCORE_COLUMN])
    scores = column_floats(table, SCORE_COLUMN)
    funnel = Funnel(table.num_rows)
    funnel.keep(~np.isnan(scores), "score_missing")
    funnel.keep(scores[funnel.rows] >= MIN_SCORE, "score_too_low")
    funnel.keep(_is_english(Captions.of_table(table, path).take(funnel.rows).strings()), "caption_not_english")
    return funnel.result(column_uids(table, path))


def _is_english(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Is English what CLD3 finds, however unsure? Newlines count as spaces; CLD3 reads the first 1,000 bytes."""
    find = _identifier().FindLanguage
    return np.fromiter((find(text=text.replace("\n", " ")).language == "en" for text in texts), bool, len(texts))


@lru_cache(maxsize=1)
def _identifier() -> Any:
    return import_module("gcld3").NNetLanguageIdentifier(min_num_bytes=MIN_BYTES, max_num_bytes=MAX_BYTES)


LAION2B = Strategy(
    "laion2b",
    "LAION-2B's rule: English by CLD3 (package gcld3) and a CLIP B/32 score of at least 0.28.",
    _select,
    tools=_tools,
)
