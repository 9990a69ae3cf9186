"""Which uids of a sorted subset lie outside a sorted pool: both are read once, block by block.

A binary search a uid would touch every page of the pool in any case and keep all of them; a walk along both keeps one
block of each, so that a pool of any size is searched in the memory of 65,536 uids.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from competition.data.uids import UidArray, count_in, forget_pages

_BLOCK = 1 << 16


def foreign_positions(subset: UidArray, pool: UidArray) -> Iterator[NDArray[np.int64]]:
    """Positions in ``subset`` [n] of the uids that ``pool`` [m] has not, ascending, int64, block by block.

    Both are sorted; both may repeat uids and may be memory-mapped.
    """
    at = 0
    for start in range(0, len(subset), _BLOCK):
        part = np.array(subset[start : start + _BLOCK])
        outside = np.ones(len(part), dtype=bool)
        done = 0
        while done < len(part) and at < len(pool):
            block = np.array(pool[at : at + _BLOCK])
            # Whatever is not above the block's last uid is in this block or nowhere in the pool.
            upto = done + _not_above(part[done:], block[-1])
            outside[done:upto] = count_in(part[done:upto], block) == 0
            done = upto
            if done < len(part):
                at += len(block)
        forget_pages(subset)
        forget_pages(pool)
        yield np.flatnonzero(outside) + start


def _not_above(uids: UidArray, bound: np.void) -> int:
    """How many uids of a sorted array are at most ``bound``."""
    low = int(np.searchsorted(uids["f0"], bound["f0"], side="left"))
    high = int(np.searchsorted(uids["f0"], bound["f0"], side="right"))
    return low + int(np.searchsorted(uids["f1"][low:high], bound["f1"], side="right"))
