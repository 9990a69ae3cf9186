"""Where two subsets differ: how scores and sizes are spread over what only one of them chose."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from competition.data.engine import Workers
from competition.data.metadata import column_types, column_uids, read_columns
from competition.data.uids import load_subset
from competition.progress import ProgressHook
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.stream import count_in_file

SIDES = ("only_a", "only_b", "both")

_SCORE_EDGES = tuple(round(0.1 + 0.025 * step, 3) for step in range(13))
_SIZES = ("original_width", "original_height")
EDGES: dict[str, tuple[float, ...]] = {
    "clip_b32_similarity_score": _SCORE_EDGES,
    "clip_l14_similarity_score": _SCORE_EDGES,
    "shorter_side": (100, 200, 300, 400, 600, 800, 1200, 1600),
}
"""What is counted, and the lower edges of its bins after the first, which is open below; the last is open above."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Metadata rows by the value of one quantity.

    Args:
        quantity: a key of ``EDGES``.
        edges: bin *i* holds ``edges[i - 1] <= value < edges[i]``; the first and last are open.
        counts: by side (``SIDES``), one more than there are edges.
        missing: by side, rows without a value (null or NaN).
    """

    quantity: str
    edges: tuple[float, ...]
    counts: dict[str, list[int]]
    missing: dict[str, int]


@dataclass(frozen=True, slots=True)
class Differences:
    """Metadata rows whose uid is in A only, in B only, in both (at least once), or in neither."""

    rows: dict[str, int]
    histograms: list[Histogram]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def compare_metadata(
    first: Path, second: Path, metadata_dir: Path, workers: Workers = 1, progress: ProgressHook | None = None
) -> Differences:
    """Count the pool's rows by which of two subsets has them, and by score and size; columns it lacks are left out.

    Raises:
        DataFormatError: a subset or metadata file is damaged, or a subset is unsorted.
        StorageError: a file cannot be read.
    """
    for path in (first, second):
        load_subset(path)
    pool = MetadataPool.open(metadata_dir, workers)
    pool = MetadataPool(pool.files, pool.engine, progress)
    parts = pool.map(partial(_count_file, first, second), "comparing metadata")
    rows = {side: sum(part["rows"][side] for part in parts) for side in (*SIDES, "neither")}
    histograms = []
    for quantity, edges in EDGES.items():
        counted = [part[quantity] for part in parts if quantity in part]
        if counted:
            total = np.sum(counted, axis=0)
            counts = {side: row[:-1].tolist() for side, row in zip(SIDES, total, strict=True)}
            missing = {side: int(row[-1]) for side, row in zip(SIDES, total, strict=True)}
            histograms.append(Histogram(quantity, edges, counts, missing))
    return Differences(rows, histograms)


def _count_file(first: Path, second: Path, path: Path) -> dict[str, Any]:
    """Rows by side, and for each quantity counts int64 of shape (sides, bins + 1), the last for missing values."""
    present = column_types(path).names
    quantities = {"shorter_side": _SIZES} | {name: (name,) for name in EDGES if name != "shorter_side"}
    used = {name: columns for name, columns in quantities.items() if set(columns) <= set(present)}
    table = read_columns(path, ["uid", *(column for columns in used.values() for column in columns)])
    uids = column_uids(table, path)
    in_a, in_b = (count_in_file(uids, load_subset(each, require_sorted=False)) > 0 for each in (first, second))
    masks = {"only_a": in_a & ~in_b, "only_b": in_b & ~in_a, "both": in_a & in_b, "neither": ~(in_a | in_b)}
    counted: dict[str, Any] = {"rows": {side: int(np.count_nonzero(mask)) for side, mask in masks.items()}}
    for name, columns in used.items():
        values = np.min([_numbers(table.column(column)) for column in columns], axis=0)
        counted[name] = np.stack([_bins(values[masks[side]], EDGES[name]) for side in SIDES])
    return counted


def _numbers(column: Any) -> NDArray[np.float64]:
    values: NDArray[np.float64] = pl.Series(values=column).cast(pl.Float64).fill_null(np.nan).to_numpy()
    return values


def _bins(values: NDArray[np.float64], edges: tuple[float, ...]) -> NDArray[np.int64]:
    """Scores are float32: so are the edges, that a stored float32(0.2) is in the bin from 0.2."""
    known = values[~np.isnan(values)]
    places = np.searchsorted(np.asarray(edges, dtype=np.float32), known.astype(np.float32), side="right")
    counts = np.bincount(places, minlength=len(edges) + 1)
    return np.append(counts, len(values) - len(known)).astype(np.int64)
