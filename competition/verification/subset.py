"""The subset: a plain array of uids, sorted, all from the pool, as many as claimed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from competition.data.uids import (
    UID_DTYPE,
    UidArray,
    count_in,
    first_unsorted,
    load_subset,
    multiplicities,
    uids_to_hex,
)
from competition.errors import DataFormatError, RejectionError, RejectionReason
from competition.records.manifest import FileRole
from competition.verification.entry import Entry

_MAX_HEADER_BYTES = 4096
_CHUNK = 1 << 20


def check_subset(entry: Entry) -> None:
    """Format and limits, order, membership in the pool (where one is at hand), and the manifest's counts."""
    file, path = entry.only(FileRole.SUBSET)
    limit = entry.competition.limits.subset_uids
    uids = _open(file.path, path, limit)
    if not len(uids):
        raise _malformed(f"{file.path} holds no uid.")
    if len(uids) > limit:
        raise _malformed(f"{file.path} holds {len(uids)} uids; a subset may have at most {limit}, repeats counted.")
    _check_order(file.path, uids)
    if entry.pool_uids is not None:
        check_members(file.path, uids, entry.pool_uids, entry.scale.given_pool.id)
    unique = len(multiplicities(uids)[0])
    for field, claimed, found in (
        ("subset_samples", entry.manifest.subset_samples, len(uids)),
        ("subset_unique", entry.manifest.subset_unique, unique),
    ):
        if claimed != found:
            raise RejectionError(
                RejectionReason.SUBSET_COUNT_MISMATCH,
                f"{file.path}: the manifest says {field} = {claimed}, but the file has {found}.",
            )


def _open(name: str, path: Path, limit: int) -> UidArray:
    """The memory-mapped subset; only its header has been interpreted, and a pickle never is."""
    with path.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            raise _malformed(f"{name} is not a NumPy file.")
    try:
        return load_subset(path, max_bytes=limit * UID_DTYPE.itemsize + _MAX_HEADER_BYTES, require_sorted=False)
    except DataFormatError as error:
        raise _malformed(error.message.replace(f"Subset {path}", name)) from error


def _check_order(name: str, uids: UidArray) -> None:
    position = first_unsorted(uids)
    if position is not None:
        uid = uids_to_hex(uids[position : position + 1])[0]
        raise RejectionError(
            RejectionReason.SUBSET_UNSORTED,
            f"{name} is not sorted: uid {uid} at position {position} is smaller than the one before it.",
        )


def check_members(name: str, uids: UidArray, pool: UidArray, pool_id: str) -> None:
    """Raise ``RejectionError`` when a uid is not in ``pool``, which is sorted.

    Chunk by chunk, so that memory stays bounded whatever the subset's length.
    """
    foreign, first = 0, ""
    for start in range(0, len(uids), _CHUNK):
        part = uids[start : start + _CHUNK]
        outside = np.flatnonzero(count_in(part, pool) == 0)
        if len(outside) and not foreign:
            first = uids_to_hex(part[outside[:1]])[0]
        foreign += len(outside)
    if foreign:
        raise RejectionError(
            RejectionReason.SUBSET_FOREIGN_UIDS,
            f"{name}: {foreign} of {len(uids)} uids are not in pool {pool_id!r}; the first one is {first}.",
        )


def _malformed(message: str) -> RejectionError:
    return RejectionError(RejectionReason.SUBSET_MALFORMED, message)
