"""A random part of the pool: the baseline of equal size for any other strategy."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import read_uids
from competition.errors import UsageError
from participant_kit.subsets.draw import lots
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, SubsetResult
from participant_kit.subsets.strategy import Strategy, StrategyOptions

PURPOSE = 1

_BUCKET_BITS = 10
_SHIFT = np.uint64(64 - _BUCKET_BITS)


def _select(pool: MetadataPool, options: StrategyOptions) -> SubsetResult:
    """Every uid has a lot; the n least are kept. The copies of one uid have one lot and stay together, so that more
    than n rows are kept where they are at the cut."""
    if (options.fraction is None) == (options.size is None):
        raise UsageError("Strategy random needs exactly one of --fraction and --size.")
    seed = RANDOM_SUBSET.complete(options).seed or 0
    counts = np.sum(pool.map(partial(_bucket_counts, seed), "counting lots"), axis=0)
    rows = int(counts.sum())
    wanted = int(rows * options.fraction) if options.fraction is not None else options.size or 0
    if wanted > rows:
        raise UsageError(f"--size {wanted} is more than the pool's {rows} rows.")
    last = _largest_kept(pool, seed, counts, wanted)
    return pool.select(partial(_select_file, seed, last), "drawing lots")


def _largest_kept(pool: MetadataPool, seed: int, counts: NDArray[np.int64], wanted: int) -> np.uint64 | None:
    """The ``wanted``-th least lot, exactly: of the whole pool only the lots of its bucket are held in memory."""
    if not wanted:
        return None
    reached = np.cumsum(counts)
    bucket = int(np.searchsorted(reached, wanted))
    inside = wanted - 1 - int(reached[bucket] - counts[bucket])
    candidates = np.concatenate(pool.map(partial(_bucket_lots, seed, bucket), "finding the last lot"))
    return np.uint64(np.partition(candidates, inside)[inside])


def _bucket_counts(seed: int, path: Path) -> NDArray[np.int64]:
    """Rows by the leading bits of their lots."""
    buckets = (lots(read_uids(path), seed, PURPOSE) >> _SHIFT).astype(np.int64)
    return np.bincount(buckets, minlength=1 << _BUCKET_BITS)


def _bucket_lots(seed: int, bucket: int, path: Path) -> NDArray[np.uint64]:
    drawn = lots(read_uids(path), seed, PURPOSE)
    inside: NDArray[np.uint64] = drawn[drawn >> _SHIFT == np.uint64(bucket)]
    return inside


def _select_file(seed: int, last: np.uint64 | None, path: Path) -> SubsetResult:
    uids = read_uids(path)
    funnel = Funnel(len(uids))
    kept = np.zeros(len(uids), dtype=bool) if last is None else lots(uids, seed, PURPOSE) <= last
    funnel.keep(kept, "not_drawn")
    return funnel.result(uids)


RANDOM_SUBSET = Strategy(
    "random",
    "A random part of the pool, by fraction or number; the same for the same seed.",
    _select,
    accepts=("fraction", "size", "seed"),
    defaults={"seed": 0},
)
