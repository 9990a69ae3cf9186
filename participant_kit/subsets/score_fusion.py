"""The best rows by several metadata columns at once: Borda fusion, the weighted mean of normalised ranks.

A row's rank in a column is the share of rows with a smaller value, equals counted half (1 is best, 0 worst), or one
minus that where small values are wanted. Its score is the mean of its ranks, weighted (Aslam and Montague, "Models for
metasearch", 2001). Ranks make columns of any unit and spread comparable. Reciprocal rank fusion (Cormack et al., 2009)
is made for the first page of a search: beyond some thousand rows it hardly looks at any but the best of a row's ranks,
which is no way to choose a third of a pool.

Rows that lack one of the columns are dropped, and ranks are those among the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder
from competition.data.uids import UidArray
from competition.errors import UsageError
from participant_kit.subsets.best import Scored, select_best
from participant_kit.subsets.budget import Budget
from participant_kit.subsets.numbers import read_numbers
from participant_kit.subsets.parts import Part, Parts
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions

NAME = "score_fusion"

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]

_MERGED_AT_A_TIME = 1 << 20


@dataclass(frozen=True, slots=True)
class Criterion:
    """A column to rank by; of a negative weight the smallest values are best."""

    column: str
    weight: float

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """``NAME`` has the weight 1, ``NAME:WEIGHT`` its own.

        Raises:
            UsageError: the weight is zero or not finite.
        """
        name, _, last = text.rpartition(":")
        try:
            criterion = cls(name, float(last)) if name else cls(text, 1.0)
        except ValueError:  # a colon of the name
            criterion = cls(text, 1.0)
        if not math.isfinite(criterion.weight) or not criterion.weight:
            raise UsageError(f"--columns {text} has the weight {last}.", hint="A weight is a number other than 0.")
        return criterion


def criteria(texts: Sequence[str] | None) -> list[Criterion]:
    """The columns that are named.

    Raises:
        UsageError: none, one twice, or a weight that means nothing.
    """
    if not texts:
        raise UsageError(
            f"Strategy {NAME} needs --columns.",
            hint="For example: --columns clip_l14_similarity_score --columns original_width:0.5",
        )
    found = [Criterion.parse(text) for text in texts]
    names = [each.column for each in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"The column {name!r} is named twice.", hint="Give it one weight.")
    return found


def merged_counts(parts: Iterable[tuple[Numbers, Counts]]) -> tuple[Numbers, Counts]:
    """All different values, ascending, with how often they occur; memory for those of all parts together."""
    values, counts = np.zeros(0), np.zeros(0, dtype=np.int64)
    waiting: list[tuple[Numbers, Counts]] = []
    for part in parts:
        waiting.append(part)
        if sum(len(each) for each, _ in waiting) > max(len(values), _MERGED_AT_A_TIME):
            values, counts = _merge([(values, counts), *waiting])
            waiting = []
    return _merge([(values, counts), *waiting])


def normalised_ranks(counts: Counts) -> Numbers:
    """For values in ascending order, each as often as counted: the share that is less, equals counted half."""
    return (np.cumsum(counts) - counts / 2) / max(1, int(counts.sum()))


def _merge(parts: list[tuple[Numbers, Counts]]) -> tuple[Numbers, Counts]:
    values, places = np.unique(np.concatenate([each for each, _ in parts]), return_inverse=True)
    counts = np.zeros(len(values), dtype=np.int64)
    np.add.at(counts, places, np.concatenate([each for _, each in parts]))
    return values, counts


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    chosen, budget = criteria(options.columns), Budget.of(options, NAME)
    with pool.working() as working:
        assert working.work_dir is not None
        folder = working.work_dir / "values"
        parts = Parts(replace(working, work_dir=folder), partial(_count_file, chosen), "counting values")
        for number in range(len(chosen)):
            values, counts = merged_counts((part[f"values{number}"], part[f"counts{number}"]) for part in parts)
            _save_ranks(folder, number, values, normalised_ranks(counts))
        result = select_best(working, partial(_score_file, chosen, folder), budget, "fusing ranks", "all the columns")
    columns = [asdict(criterion) for criterion in chosen]
    return replace(result, details={**result.details, "columns": columns})


def _complete(chosen: Sequence[Criterion], path: Path) -> tuple[UidArray, list[Numbers], Funnel]:
    """Uids and columns of a file, and which of its rows have them all."""
    uids, columns = read_numbers(path, [criterion.column for criterion in chosen])
    funnel = Funnel(len(uids))
    for criterion, values in zip(chosen, columns, strict=True):
        funnel.keep(~np.isnan(values[funnel.rows]), f"{criterion.column}_missing")
    return uids, columns, funnel


def _count_file(chosen: Sequence[Criterion], path: Path) -> Part:
    _, columns, funnel = _complete(chosen, path)
    arrays: dict[str, NDArray[Any]] = {}
    for number, values in enumerate(columns):
        present, counts = np.unique(values[funnel.rows], return_counts=True)
        arrays |= {f"values{number}": present, f"counts{number}": counts.astype(np.int64)}
    return Part(arrays)


def _score_file(chosen: Sequence[Criterion], folder: Path, path: Path) -> Scored:
    uids, columns, funnel = _complete(chosen, path)
    fused = np.zeros(len(funnel.rows))
    for number, (criterion, values) in enumerate(zip(chosen, columns, strict=True)):
        present, ranks = (np.load(file, mmap_mode="r") for file in _rank_paths(folder, number))
        rank = ranks[np.searchsorted(present, values[funnel.rows])]
        fused += abs(criterion.weight) * (rank if criterion.weight > 0 else 1 - rank)
    scores = np.full(len(uids), np.nan)
    scores[funnel.rows] = fused / sum(abs(criterion.weight) for criterion in chosen)
    return Scored(uids, scores, funnel.dropped)


def _save_ranks(folder: Path, number: int, values: Numbers, ranks: Numbers) -> None:
    make_folder(folder)
    for path, array in zip(_rank_paths(folder, number), (values, ranks), strict=True):
        with atomic_writer(path) as stream:
            write_npy(stream, array)


def _rank_paths(folder: Path, number: int) -> tuple[Path, Path]:
    return folder / f"values{number}.npy", folder / f"ranks{number}.npy"


SCORE_FUSION = Strategy(
    NAME,
    "The best rows by several metadata columns at once: by the weighted mean of their normalised ranks.",
    _select,
    accepts=("columns", "fraction", "size"),
)
