"""The uids of a pool, sorted, in a file of their own: verifying a subset must not read a pool's metadata every time."""

from __future__ import annotations

import hashlib
from pathlib import Path

from competition.canonical import digest
from competition.data.atomic import make_folder, storage_errors
from competition.data.metadata import list_metadata, pool_uids
from competition.data.uids import UidArray, load_subset, save_subset
from competition.errors import DataFormatError
from competition.rules import Pool


def indexed_uids(pool: Pool, pools_root: Path, index_root: Path) -> UidArray:
    """The pool's uids from ``<pools_root>/<pool id>/metadata``, memory-mapped from an index that is built when needed.

    Raises:
        DataFormatError: the metadata is damaged, or is not the pool that the competition names.
        StorageError: there is no such pool here, or the index cannot be written.
    """
    metadata = pools_root / pool.id / "metadata"
    index = index_root / f"{pool.id}-{pool_identity(metadata)[:16]}.npy"
    if not index.exists():
        uids = pool_uids(metadata)
        _check_identity(pool, uids, metadata)
        make_folder(index_root)
        save_subset(index, uids)
    return load_subset(index)


def pool_identity(metadata: Path) -> str:
    """Changes when a file of the pool does."""
    files = list_metadata(metadata)
    with storage_errors("reading the pool", metadata):
        states = [(path.name, path.stat()) for path in files]
    return digest([[name, state.st_size, str(state.st_mtime_ns)] for name, state in states])


def _check_identity(pool: Pool, uids: UidArray, metadata: Path) -> None:
    hint = "Put the pool of this competition and scale there; entries wait until then."
    if pool.uids_sha256 is not None and hashlib.sha256(uids.tobytes()).hexdigest() != pool.uids_sha256:
        raise DataFormatError(f"The uids in {metadata} are not those of pool {pool.id!r}.", hint=hint)
    if len(uids) != pool.samples:
        raise DataFormatError(f"{metadata} holds {len(uids)} uids; pool {pool.id!r} has {pool.samples}.", hint=hint)
