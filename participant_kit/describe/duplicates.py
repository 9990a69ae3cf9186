"""Rows of a dataset that have the same image: byte for byte, or by perceptual hash. Pure; numpy alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.uids import UidArray
from participant_kit.dedup.groups import Rows, UnionFind, groups_of, summary
from participant_kit.dedup.hamming import near_hashes
from participant_kit.describe.parts import RowTable
from participant_kit.describe.rows import Marks

MAX_BITS = 2
"""Perceptual hashes of duplicates differ in at most so many bits: the default of ``datacup dedup perceptual``."""

SHOWN = 12


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Different samples with the same image.

    Args:
        compared: different samples that have a mark.
        missing: those that have none.
        groups: of at least two samples.
        members: samples in groups.
        redundant: members beyond one of each group.
        largest: members of the largest group.
        examples: the first uids of that group.
    """

    compared: int
    missing: int
    groups: int
    members: int
    redundant: int
    largest: int
    examples: list[str]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def distinct_rows(rows: RowTable) -> RowTable:
    """Each uid once, sorted, with the copies of all its rows and the marks of the first."""
    order = np.lexsort((np.arange(len(rows.uids)), rows.uids["f1"], rows.uids["f0"]))
    ordered = rows.uids[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(first)
    copies = rows.copies[order]
    total = np.add.reduceat(copies, starts) if len(starts) else copies
    kept = order[starts]
    return RowTable(rows.uids[kept], total.astype(np.int32), rows.sha256.take(kept), rows.hashes.take(kept))


def exact_duplicates(rows: RowTable) -> Duplicates:
    """Samples whose sha256 begin with the same 64 bits, which by chance happens to no pair in a billion samples.

    Args:
        rows: each uid once.
    """
    known = rows.sha256.present
    _, labels = np.unique(rows.sha256.words[known], return_inverse=True)
    return _found(rows.uids[known], rows.sha256, labels)


def perceptual_duplicates(rows: RowTable) -> Duplicates:
    """Samples that pairs with perceptual hashes at most ``MAX_BITS`` bits apart connect; see ``exact_duplicates``."""
    known = rows.hashes.present
    hashes, places = np.unique(rows.hashes.words[known], return_inverse=True)
    sets = UnionFind(len(hashes))
    for first, second in near_hashes(hashes, MAX_BITS):
        sets.join(first, second)
    return _found(rows.uids[known], rows.hashes, sets.labels()[places])


def _found(uids: UidArray, marks: Marks, labels: Rows) -> Duplicates:
    groups = groups_of(uids, labels.astype(np.int64), _kept(len(uids)))
    found = summary(groups)
    examples = groups.ids[: min(SHOWN, found["largest"])]
    members = found["members"]
    missing = len(marks.present) - len(uids)
    return Duplicates(
        len(uids), missing, found["groups"], members, members - found["groups"], found["largest"], examples
    )


def _kept(rows: int) -> NDArray[np.bool_]:
    return np.zeros(rows, dtype=bool)
