"""The subset: a plain array of uids, sorted, all from the pool, as many as claimed."""

from __future__ import annotations

from pathlib import Path

from competition.data.uids import (
    UID_DTYPE,
    UidArray,
    first_unsorted,
    load_subset,
    repeated_rows,
    uids_to_hex,
)
from competition.errors import DataFormatError, RejectionError, RejectionReason
from competition.records.manifest import FileRole
from competition.verification.entry import Entry, Findings
from competition.verification.membership import foreign_positions

_MAX_HEADER_BYTES = 4096


def check_subset(entry: Entry) -> Findings:
    """Format and limits, order, membership in the pool (where one is at hand), and the manifest's counts.

    An entry with data of its own may have no subset.
    """
    if entry.own and not entry.all(FileRole.SUBSET):
        return {}
    file, path = entry.only(FileRole.SUBSET)
    limit, pool = entry.competition.limits.subset_uids, entry.pool_uids
    pool_id = "" if pool is None else entry.scale.given_pool.id
    samples, unique = check_uids(file.path, path, limit=limit, pool=pool, pool_id=pool_id)
    for field, claimed, found in (
        ("subset_samples", entry.manifest.subset_samples, samples),
        ("subset_unique", entry.manifest.subset_unique, unique),
    ):
        if claimed != found:
            raise RejectionError(
                RejectionReason.SUBSET_COUNT_MISMATCH,
                f"{file.path}: the manifest says {field} = {claimed}, but the file has {found}.",
            )
    return {"uids": samples, "distinct": unique, **({} if pool is None else {"all_in_pool": pool_id})}


def check_uids(name: str, path: Path, *, limit: int, pool: UidArray | None, pool_id: str) -> tuple[int, int]:
    """The uids of a file, repeats counted, and the distinct ones; memory is bounded whatever their number.

    Args:
        name: what messages call the file.
        path: where it lies.
        limit: the most uids that it may have, repeats counted.
        pool: the pool's uids, sorted; None leaves membership unchecked.
        pool_id: what messages call the pool.

    Raises:
        RejectionError: no subset, empty, too long, unsorted, or with a uid that is not in the pool.
    """
    uids = _open(name, path, limit)
    if not len(uids):
        raise _malformed(f"{name} holds no uid.")
    if len(uids) > limit:
        raise _malformed(f"{name} holds {len(uids)} uids; a subset may have at most {limit}, repeats counted.")
    _check_order(name, uids)
    if pool is not None:
        check_members(name, uids, pool, pool_id)
    return len(uids), len(uids) - repeated_rows(uids)


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
    """Raise ``RejectionError`` when a uid is not in ``pool``. Both are sorted; a block of each is in memory."""
    foreign, first = 0, ""
    for outside in foreign_positions(uids, pool):
        if len(outside) and not foreign:
            first = uids_to_hex(uids[outside[:1]])[0]
        foreign += len(outside)
    if foreign:
        raise RejectionError(
            RejectionReason.SUBSET_FOREIGN_UIDS,
            f"{name}: {foreign} of {len(uids)} uids are not in pool {pool_id!r}; the first one is {first}.",
        )


def _malformed(message: str) -> RejectionError:
    return RejectionError(RejectionReason.SUBSET_MALFORMED, message)
