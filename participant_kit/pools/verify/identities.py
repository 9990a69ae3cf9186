"""Uids with digests, one sorted file for each metadata file and shard, and where these sides disagree.

They are compared range by range of the uids, so that a pool of any size needs the memory of one range.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer
from competition.data.uids import UID_DTYPE, UidArray, uids_to_hex
from participant_kit.pools.verify.findings import EXAMPLES, Findings

IDENTITY_DTYPE = np.dtype([("uid", UID_DTYPE), ("sha", "<u8")])
"""A uid, and the first 64 bits of the sha256 of the original image's bytes: 0 where none is known."""

RANGE_ROWS = 1 << 23
MAX_RANGES = 256

Identities = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Sides:
    """Files of identities to compare.

    Args:
        rows: of the metadata.
        samples: of the shards.
        failed: uids whose download failed, as logs say; ``None`` where the logs are not complete.
        both: whether the pool has metadata and shards.
    """

    rows: Sequence[Path]
    samples: Sequence[Path]
    failed: Sequence[Path] | None
    both: bool


@dataclass(frozen=True, slots=True)
class UidRange:
    """Number ``index`` of ``count`` equal ranges of all uids."""

    index: int
    count: int


def uid_ranges(rows: int) -> list[UidRange]:
    """Ranges of about ``RANGE_ROWS`` identities."""
    count = min(MAX_RANGES, 1 + rows // RANGE_ROWS)
    return [UidRange(index, count) for index in range(count)]


def save_identities(path: Path, uids: UidArray, sha: NDArray[np.uint64]) -> None:
    """Write them sorted by uid.

    Raises:
        StorageError: the disk is full or the path cannot be written.
    """
    identities = np.empty(len(uids), dtype=IDENTITY_DTYPE)
    identities["uid"], identities["sha"] = uids, sha
    with atomic_writer(path, synced=False) as stream:
        write_npy(stream, _sorted(identities))


def compare_range(sides: Sides, part: UidRange) -> dict[str, Any]:
    """What is wrong between the sides in one range of the uids, as ``Findings.as_json`` says it."""
    findings = Findings()
    rows, row_counts = _distinct(_read(sides.rows, part))
    samples, sample_counts = _distinct(_read(sides.samples, part))
    _add(findings, "uid_repeated", rows["uid"][row_counts > 1])
    if not sides.both:
        _add(findings, "sample_copies", samples["uid"][sample_counts > 1])
        return findings.as_json()
    in_rows, in_samples = _common(rows, samples)
    more = sample_counts[in_samples] > row_counts[in_rows]
    _add(findings, "sample_repeated", samples["uid"][in_samples[more]])
    known = (rows["sha"][in_rows] != 0) & (samples["sha"][in_samples] != 0)
    known &= (row_counts[in_rows] == 1) & (sample_counts[in_samples] == 1)  # of copies nobody knows which is which
    changed = known & (rows["sha"][in_rows] != samples["sha"][in_samples])
    _add(findings, "original_changed", samples["uid"][in_samples[changed]])
    _add(findings, "sample_without_row", np.delete(samples["uid"], in_samples))
    absent = np.delete(rows, in_rows)
    if sides.failed is None:
        _add(findings, "row_without_sample", absent["uid"])
    else:
        failed, _ = _distinct(_read(sides.failed, part))
        explained, _ = _common(absent, failed)
        _add(findings, "download_failed", absent["uid"][explained])
        _add(findings, "sample_lost", np.delete(absent["uid"], explained))
    return findings.as_json()


def _add(findings: Findings, check: str, uids: UidArray) -> None:
    findings.add(check, *uids_to_hex(uids[:EXAMPLES]), count=len(uids))


def _read(paths: Sequence[Path], part: UidRange) -> Identities:
    """The identities of a range from all files, sorted."""
    pieces = []
    for path in paths:
        stored = np.load(path, mmap_mode="r" if part.count > 1 else None, allow_pickle=False)
        bounds = [_position(stored, part, part.index), _position(stored, part, part.index + 1)]
        pieces.append(np.array(stored[bounds[0] : bounds[1]]))
    return _sorted(np.concatenate(pieces)) if pieces else np.zeros(0, dtype=IDENTITY_DTYPE)


def _position(stored: Identities, part: UidRange, index: int) -> int:
    if index == part.count:
        return len(stored)
    bound = (index << 64) // part.count
    return bisect_left(range(len(stored)), bound, key=lambda row: int(stored[row]["uid"]["f0"]))


def _sorted(identities: Identities) -> Identities:
    return identities[np.lexsort((identities["uid"]["f1"], identities["uid"]["f0"]))]


def _distinct(identities: Identities) -> tuple[Identities, NDArray[np.int64]]:
    """The first of each uid, and how many there are."""
    new = np.ones(len(identities), dtype=bool)
    new[1:] = ~_equal_to_next(identities)
    starts = np.flatnonzero(new)
    return identities[starts], np.diff(starts, append=len(identities)).astype(np.int64)


def _common(first: Identities, second: Identities) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the uids that both have, in each; both hold distinct uids in order."""
    joined = np.concatenate([first, second])
    order = np.lexsort((joined["uid"]["f1"], joined["uid"]["f0"]))  # stable: the first side's comes first
    pairs = np.flatnonzero(_equal_to_next(joined[order]))
    return order[pairs], order[pairs + 1] - len(first)


def _equal_to_next(identities: Identities) -> NDArray[np.bool_]:
    f0, f1 = identities["uid"]["f0"], identities["uid"]["f1"]
    equal: NDArray[np.bool_] = (f0[1:] == f0[:-1]) & (f1[1:] == f1[:-1])
    return equal
