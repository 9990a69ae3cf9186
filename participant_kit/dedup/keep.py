"""Which of several duplicates stays: rows of a pool in the order in which a keep rule prefers them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import column_uids, read_columns
from competition.data.uids import UidArray, load_subset
from competition.errors import UsageError
from participant_kit.dedup.groups import Rows, joined
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.stream import count_in_file

DEFAULT_SCORE = "clip_l14_similarity_score"


class Keep(StrEnum):
    """Which member of a group stays."""

    BEST = "best"
    LARGEST = "largest"
    FIRST = "first"
    OUTERMOST = "outermost"


@dataclass(frozen=True, slots=True)
class KeepRule:
    """A keep rule and what it looks at. Ties go to the least uid, then to the first row.

    Args:
        keep: ``best`` by score (rows without one come last), ``largest`` by pixels of the original, ``first`` by uid,
            ``outermost`` farthest from the centre of its cluster, which only semantic deduplication has.
        score: column of the metadata, for ``best``; a larger value is better.
    """

    keep: Keep = Keep.BEST
    score: str = DEFAULT_SCORE

    @property
    def columns(self) -> list[str]:
        """Of the metadata, beside ``uid``."""
        looked_at = {Keep.BEST: [self.score], Keep.LARGEST: ["original_width", "original_height"]}
        return looked_at.get(self.keep, [])


@dataclass(frozen=True, slots=True)
class PoolRows:
    """The rows of a pool in file order, 24 bytes each.

    Args:
        uids: of each row.
        values: float64, larger is preferred; NaN where there is none.
        starts: int64 (files + 1): where the rows of a file begin.
    """

    uids: UidArray
    values: NDArray[np.float64]
    starts: Rows

    def ranks(self) -> Rows:
        """See ``ranks_of``."""
        return ranks_of(self.uids, self.values)


def ranks_of(uids: UidArray, values: NDArray[np.float64]) -> Rows:
    """int64, one for each row: 0 for the row preferred to all others. NaN comes last, ties go by uid and row."""
    preferred = np.where(np.isnan(values), -np.inf, values)
    order = np.lexsort((np.arange(len(uids)), uids["f1"], uids["f0"], -preferred))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def read_rows(pool: MetadataPool, rule: KeepRule) -> PoolRows:
    """Uids and preferences of all rows.

    Raises:
        UsageError: the score is no column of numbers.
        DataFormatError: a file is damaged or lacks a column.
    """
    parts = pool.map(partial(_read_file, rule), "reading uids and preferences", quick=True)
    lengths = [len(uids) for uids, _ in parts]
    return PoolRows(
        np.concatenate([uids for uids, _ in parts]),
        joined([values for _, values in parts], np.float64),
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
    )


def rows_within(subset: Path | None, uids: UidArray) -> NDArray[np.bool_]:
    """Mask over rows: is the row's uid in the subset? All are where there is none.

    Raises:
        DataFormatError: the subset is damaged or unsorted.
        StorageError: it cannot be read.
    """
    if subset is None:
        return np.ones(len(uids), dtype=bool)
    return count_in_file(uids, load_subset(subset)) > 0


def _read_file(rule: KeepRule, path: Path) -> tuple[UidArray, NDArray[np.float64]]:
    table = read_columns(path, ["uid", *rule.columns])
    values = np.zeros(table.num_rows) if not rule.columns else np.ones(table.num_rows)
    for column in rule.columns:
        values *= _numbers(table.column(column), column, path)
    return column_uids(table, path), values


def _numbers(column: Any, name: str, path: Path) -> NDArray[np.float64]:
    """A column of numbers as float64, NaN where it is null."""
    import pyarrow as pa

    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise UsageError(
            f"The column {name!r} of {path.name} holds {column.type}, which is nothing to rank by.",
            hint="Name a score with --score, for instance clip_l14_similarity_score.",
        )
    values = column.combine_chunks().cast(pa.float64())
    return np.asarray(np.from_dlpack(values.fill_null(np.nan) if values.null_count else values), dtype=np.float64)
