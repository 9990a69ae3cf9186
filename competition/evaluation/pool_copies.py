"""Which samples of a pool are copies of test images: found once for a pool and a set, then looked up for every subset.

The pool's images are not at hand, only what its metadata say of them: the sha256 of each image as it was downloaded,
and features. Those are compared where the pool's rules say that they are descriptors that test images have too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import column_uids, list_metadata, read_columns, read_feature
from competition.data.uids import UID_DTYPE, UidArray, count_in, multiplicities, sort_uids
from competition.errors import DataFormatError
from competition.evaluation.copies import Fingerprints, Mask, equal_pairs, near_pairs, short_digests
from competition.evaluation.copy_descriptors import DIMENSIONS
from competition.rules import Descriptor, Pool

FEATURES = "dedup"
"""Member of the pool's npz files with descriptors."""
_MADE_HERE = frozenset({"digits-nano", "digits-micro"})
"""Pools that this project makes; their competition's rules are older than the field that says so."""


@dataclass(frozen=True, slots=True)
class PoolCopies:
    """Pairs of a pool's sample and a test image of which it is a copy: ``uids`` sorted, ``images`` int64, ``exact``
    bool, all (pairs,)."""

    uids: UidArray
    images: NDArray[np.int64]
    exact: Mask

    def within(self, subset: UidArray, tests: int) -> tuple[Mask, Mask, int]:
        """What a sorted subset has of ``tests`` test images: masks (tests,) of those with an exact and with a near copy
        (an exact one included), and how many of its samples are copies, repeats counted."""
        counts = count_in(self.uids, subset)
        exact, near = np.zeros(tests, dtype=bool), np.zeros(tests, dtype=bool)
        near[self.images[counts > 0]] = True
        exact[self.images[(counts > 0) & self.exact]] = True
        distinct, _ = multiplicities(self.uids)
        return exact, near, int(count_in(distinct, subset).sum())


def has_thumbnails(pool: Pool) -> bool:
    """Whether the pool's descriptors are those that ``competition.evaluation.copy_descriptors`` makes."""
    return pool.descriptor is Descriptor.THUMBNAIL or pool.id in _MADE_HERE


def find_pool_copies(
    metadata: Path, tests: Fingerprints, cosine: float | None, on_file: Callable[[], None] = lambda: None
) -> PoolCopies:
    """Compare all samples of a pool with the test images of one set.

    Args:
        metadata: the pool's metadata folder.
        tests: the set's.
        cosine: of descriptors, above which a sample is a copy; None: the pool has other features.
        on_file: called after every file.

    Raises:
        DataFormatError: a file is damaged, or has descriptors of other dimensions.
        StorageError: it cannot be read.
    """
    uids: list[UidArray] = [np.zeros(0, dtype=UID_DTYPE)]
    images: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    exact: list[Mask] = [np.zeros(0, dtype=bool)]
    for path in list_metadata(metadata):
        table = read_columns(path, ["uid", "sha256"])
        ours = column_uids(table, path)
        pairs = [(equal_pairs(*_digests(table, tests)), True)]
        if cosine is not None:
            features = read_feature(path, FEATURES, rows=table.num_rows)
            if features.shape[1] != DIMENSIONS:
                raise DataFormatError(f"The {FEATURES} features of {path} have {features.shape[1]} dimensions.")
            pairs.append((near_pairs(features, tests.descriptors, cosine), False))
        for (rows, found), is_exact in pairs:
            uids.append(ours[rows])
            images.append(found)
            exact.append(np.full(len(rows), is_exact))
        on_file()
    return _sorted(np.concatenate(uids), np.concatenate(images), np.concatenate(exact))


def _digests(table: Any, tests: Fingerprints) -> tuple[UidArray, UidArray]:
    """Of the rows and of the test images; a row without a sha256 has one that is nobody's."""
    column = table.column("sha256").to_pylist()
    known = [text if isinstance(text, str) and len(text) == 64 else "0" * 64 for text in column]
    return short_digests(known), tests.encoded


def _sorted(uids: UidArray, images: NDArray[np.int64], exact: Mask) -> PoolCopies:
    order = np.lexsort((~exact, images, uids["f1"], uids["f0"]))
    return PoolCopies(sort_uids(uids), images[order], exact[order])
