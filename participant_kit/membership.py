"""Whether a subset is part of its pool, asked of the pool's metadata as a participant has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from competition.data.metadata import list_metadata, read_uids
from competition.data.uids import UID_DTYPE, UidArray, count_in, load_subset, multiplicities, sort_uids
from competition.errors import DataFormatError, UsageError
from competition.rules import Pool


def known_uids(metadata_dir: Path, pool: Pool, subset: Path) -> UidArray:
    """Those of the pool's uids that the subset has, sorted: for the membership of this subset, as good as all of them.

    One file of the pool is in memory at a time. A file that is no subset knows none; what is wrong with it is for the
    check of the subset to say.

    Raises:
        UsageError: the folder holds another number of samples than the pool.
        DataFormatError: the metadata is damaged, or there is none.
        StorageError: it cannot be read.
    """
    paths = list_metadata(metadata_dir)
    try:
        distinct, _ = multiplicities(sort_uids(load_subset(subset, require_sorted=False)))
    except DataFormatError:
        distinct = np.zeros(0, dtype=UID_DTYPE)
    found, samples = [distinct[:0]], 0
    for path in paths:
        part = read_uids(path)
        samples += len(part)
        found.append(part[count_in(part, distinct) > 0])
    if samples != pool.samples:
        raise UsageError(
            f"{metadata_dir} holds {samples} samples; pool {pool.id!r} has {pool.samples}.",
            hint="Give the metadata folder of this scale's whole pool, or leave --metadata-dir out.",
        )
    return sort_uids(np.concatenate(found))
