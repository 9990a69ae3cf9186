"""Uids that never were in the pool, told apart from those whose image is merely gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from competition.data.uids import UidArray, contained_in, uids_to_hex
from competition.errors import DataFormatError


def refuse_foreign(missing: UidArray, subset_path: Path, shards_dir: Path) -> None:
    """Refuse a subset of another pool: a uid that neither the shards nor the metadata beside them know.

    Images of a web pool disappear, so a uid without a sample is counted and left out. Where the pool's ``metadata``
    folder lies beside its shards, it says which uids ever were in the pool; without it nobody can know.

    Args:
        missing: distinct uids of the subset that no shard has.
        subset_path: named in the message.
        shards_dir: the pool's shards.

    Raises:
        DataFormatError: names the subset, the metadata folder, how many uids are foreign and the first of them.
    """
    metadata_dir = shards_dir.resolve().parent / "metadata"
    if not len(missing) or not metadata_dir.is_dir():
        return

    from competition.data.metadata import list_metadata, read_uids  # Arrow, which a pool without metadata does not need

    unknown = np.ones(len(missing), dtype=bool)
    for path in list_metadata(metadata_dir):
        unknown &= ~contained_in(missing, read_uids(path))
        if not unknown.any():
            return
    foreign = missing[unknown]
    raise DataFormatError(
        f"{len(foreign):,} uids of {subset_path} are not in the pool's metadata {metadata_dir} "
        f"(first: {uids_to_hex(foreign[:1])[0]}).",
        hint="Was the subset made for another pool? Nothing was written.",
    )
