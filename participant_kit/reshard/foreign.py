"""Uids that never were in the pool, told apart from those whose image is merely gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from competition.data.uids import UidArray, contained_in


def find_foreign(missing: UidArray, shards_dir: Path) -> UidArray:
    """Those of the uids without a sample that the pool's metadata do not know either: of another pool's subset.

    Images of a web pool disappear, so a uid without a sample is counted and left out. Where the pool's ``metadata``
    folder lies beside its shards, it says which uids ever were in the pool; without it nobody can know, and none is
    foreign.

    Args:
        missing: distinct uids of the subset that no shard has.
        shards_dir: the pool's shards.

    Raises:
        DataFormatError: a metadata file is damaged.
        StorageError: it cannot be read.
    """
    metadata_dir = shards_dir.resolve().parent / "metadata"
    if not len(missing) or not metadata_dir.is_dir():
        return missing[:0]

    from competition.data.metadata import list_metadata, read_uids  # Arrow, which a pool without metadata does not need

    unknown = np.ones(len(missing), dtype=bool)
    for path in list_metadata(metadata_dir):
        unknown &= ~contained_in(missing, read_uids(path))
        if not unknown.any():
            break
    return missing[unknown]
