"""The best rows of a pool by a number that each has: exactly as many as asked for, in bounded memory.

The numbers are kept on the disk, 16 bytes a row, while a radix selection finds the last one that is kept. Rows that tie
with it are chosen by lots that belong to their uids, so that nothing depends on the order of files or rows. Rows that
share uid and number stay together: more than asked for are kept where they are at the cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.data.uids import UidArray
from participant_kit.subsets.budget import Budget
from participant_kit.subsets.draw import lots
from participant_kit.subsets.parts import Part, Parts, load_part
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.ranking import Keys, float_keys, key_float, nth_least
from participant_kit.subsets.result import Funnel, SubsetResult, sum_dropped

PURPOSE = 6
_FOLDER = "scores"
_NO_KEY = np.uint64(0)
"""Of a row without a number; every number's key is greater."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The numbers of one metadata file.

    Args:
        uids: shape (rows,).
        scores: float64 of the same shape, larger is better; NaN where a row has none.
        dropped: those, by reason.
    """

    uids: UidArray
    scores: NDArray[np.float64]
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Cut:
    """Rows above the key are kept, and of those that have it the ones with no greater lot."""

    key: np.uint64
    lot: np.uint64


def select_best(
    pool: MetadataPool, score: Callable[[Path], Scored], budget: Budget, stage: str, lacking: str = "a score"
) -> SubsetResult:
    """Keep the rows with the largest scores.

    Args:
        pool: its engine does the reading.
        score: of a metadata file; picklable.
        budget: how many rows.
        stage: what scoring is, in words.
        lacking: what rows without a score have not, see ``Budget.rows``.

    Raises what ``score`` and ``Budget.rows`` raise.
    """
    with pool.working() as working:
        assert working.work_dir is not None
        folder = working.work_dir / _FOLDER
        parts = Parts(replace(working, work_dir=folder), partial(_score_file, score), stage)
        total = parts.total("rows")
        missing = sum_dropped([facts["dropped"] for facts in parts.facts])
        cut = _find_cut(parts, budget.rows(total, total - sum(missing.values()), lacking))
        result = working.select(partial(_keep_file, folder, cut), "keeping the best", quick=True)
    dropped = missing | {"score_too_low": result.dropped["score_too_low"]}
    return replace(result, dropped=dropped, details={"least_kept": key_float(cut.key)})


def _score_file(score: Callable[[Path], Scored], path: Path) -> Part:
    scored = score(path)
    present = ~np.isnan(scored.scores)
    keys = np.where(present, float_keys(scored.scores), _NO_KEY)
    arrays = {"uids": scored.uids, "keys": keys}
    return Part(arrays, {"rows": len(keys), "dropped": dict(scored.dropped)})


def _find_cut(parts: Parts, wanted: int) -> _Cut:
    def keys() -> Iterator[tuple[Keys, NDArray[np.int64]]]:
        for arrays in parts:
            present = arrays["keys"][arrays["keys"] > _NO_KEY]
            yield present, np.ones(len(present), dtype=np.int64)

    def tied() -> Iterator[tuple[Keys, NDArray[np.int64]]]:
        for arrays in parts:
            drawn = lots(arrays["uids"][arrays["keys"] == key], 0, PURPOSE)
            yield drawn, np.ones(len(drawn), dtype=np.int64)

    scored = sum(len(block) for block, _ in keys())
    key, _ = nth_least(keys, scored - wanted)
    above = sum(int(np.count_nonzero(block > key)) for block, _ in keys())
    lot, _ = nth_least(tied, wanted - above - 1)
    return _Cut(key, lot)


def _keep_file(folder: Path, cut: _Cut, path: Path) -> SubsetResult:
    """Rows without a score were counted when it was looked for; here they only have to leave."""
    arrays = load_part(folder, path)
    uids, keys = arrays["uids"], arrays["keys"]
    funnel = Funnel(len(uids))
    funnel.keep(keys > _NO_KEY, "score_missing")
    keys, drawn = keys[funnel.rows], lots(uids[funnel.rows], 0, PURPOSE)
    funnel.keep((keys > cut.key) | ((keys == cut.key) & (drawn <= cut.lot)), "score_too_low")
    return funnel.result(uids)
