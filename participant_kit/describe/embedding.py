"""A dataset's features beside those of others: which references they cover, and which rows are alike.

Features are read file by file and block by block; references and drawn rows are in memory. A cosine counts to four
digits, so that how a matrix product was summed changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import atomic_writer
from competition.data.metadata import read_feature, read_uids
from competition.data.uids import UID_DTYPE, UidArray, count_in, forget_pages, load_subset
from competition.data.workers import one_thread_a_worker
from participant_kit.dedup.contamination import References, most_alike
from participant_kit.dedup.groups import joined
from participant_kit.dedup.unit import Floats, check_dimensions, feature_source, unit_rows
from participant_kit.subsets.stream import count_in_file

NEIGHBOUR = 5
"""Which nearest reference of a reference bounds its ball: Naeem et al.'s k."""

CLOSER = 1e-6
"""A row is inside a ball when it is closer by this: a row that is the neighbour itself is on its edge, not inside."""

DIGITS = 4

_ROWS = 1 << 12
_QUERIES = 1 << 12


@dataclass(frozen=True, slots=True)
class Probe:
    """Vectors that a dataset's rows are compared with.

    Args:
        vectors: unit rows, float32 (queries, dimensions).
        radii: float32 (queries,): rows with a greater cosine are counted.
        own: the uid of each query that is itself a row of the dataset, which is not compared with its own row; of any
            other query an empty array.
    """

    vectors: Floats
    radii: Floats
    own: UidArray

    def save(self, path: Path) -> None:
        """Write it, for workers.

        Raises:
            StorageError: it cannot be written.
        """
        with atomic_writer(path) as stream:
            np.savez(stream, allow_pickle=False, vectors=self.vectors, radii=self.radii, own=self.own)

    @classmethod
    def load(cls, path: Path) -> Probe:
        """Read it."""
        with np.load(path, allow_pickle=False) as content:
            return cls(content["vectors"], content["radii"], content["own"])


@dataclass(frozen=True, slots=True)
class Nearest:
    """What a probe found.

    Args:
        similarities: float32 (queries,): the largest cosine with a row; -2 where there is none.
        uids: of that row.
        within: int64 (queries,): rows, copies counted, with a cosine above the radius.
        rows: that were compared, copies counted.
        missing: without finite features, copies counted.
    """

    similarities: Floats
    uids: UidArray
    within: NDArray[np.int64]
    rows: int
    missing: int

    @classmethod
    def none(cls, queries: int) -> Nearest:
        """Of no row."""
        least = np.full(queries, -2, np.float32)
        return cls(least, np.zeros(queries, UID_DTYPE), np.zeros(queries, np.int64), 0, 0)

    def with_others(self, other: Nearest) -> Nearest:
        """Both; of equal cosines the first one's."""
        better = other.similarities > self.similarities
        return Nearest(
            np.where(better, other.similarities, self.similarities),
            np.where(better, other.uids, self.uids),
            self.within + other.within,
            self.rows + other.rows,
            self.missing + other.missing,
        )


@dataclass(frozen=True, slots=True)
class Features:
    """Which features of which rows.

    Args:
        member: of the npz files.
        selection: sorted uids that the dataset has; every row when absent.
    """

    member: str
    selection: Path | None

    def blocks(
        self, path: Path, only: UidArray | None = None
    ) -> Iterator[tuple[UidArray, NDArray[np.int64], Floats, int]]:
        """Uids, copies and unit rows of the dataset's rows of a metadata file that have finite features, and how many
        (copies counted) have not.

        Args:
            path: the metadata file.
            only: sorted uids: other rows are passed over.

        Raises:
            DataFormatError: features are absent, damaged or not L2-normalised.
            StorageError: a file cannot be read.
        """
        uids = read_uids(path)
        copies = np.ones(len(uids), np.int64)
        if self.selection is not None:
            copies = count_in_file(uids, load_subset(self.selection, require_sorted=False))
        if only is not None:
            copies = np.where(count_in(uids, only) > 0, copies, 0)
        stored = read_feature(path, self.member, rows=len(uids))
        rows = np.flatnonzero(copies)
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            vectors, finite = unit_rows(stored[part], feature_source(path, self.member))
            lacking = int(copies[part[~finite]].sum())
            yield uids[part[finite]], copies[part[finite]], vectors[finite], lacking
            forget_pages(stored)


def nearest_rows(features: Features, probe: Path, path: Path) -> Nearest:
    """Runs in a worker: of each query of a saved probe the nearest row of a file, and how many are near.

    Raises what ``Features.blocks`` raises; ``DataFormatError`` where dimensions differ.
    """
    queries = Probe.load(probe)
    found = Nearest.none(len(queries.vectors))
    with one_thread_a_worker():
        for uids, copies, vectors, lacking in features.blocks(path):
            check_dimensions({path.stem: vectors.shape[1], "the references": queries.vectors.shape[1]})
            found = found.with_others(_of_block(queries, uids, copies, vectors, lacking))
    return found


def _of_block(queries: Probe, uids: UidArray, copies: NDArray[np.int64], vectors: Floats, lacking: int) -> Nearest:
    count = len(queries.vectors)
    nearest = Nearest.none(count)
    similarities, names, within = nearest.similarities, nearest.uids, nearest.within
    for start in range(0, count if len(uids) else 0, _QUERIES):
        part = slice(start, start + _QUERIES)
        cosines = np.minimum(queries.vectors[part] @ vectors.T, np.float32(1))
        if len(queries.own):
            cosines[queries.own[part, None] == uids[None]] = -2
        best = cosines.argmax(axis=1)
        similarities[part], names[part] = cosines[np.arange(len(best)), best], uids[best]
        within[part] = (cosines > queries.radii[part, None]) @ copies
    return Nearest(similarities, names, within, int(copies.sum()), lacking)


def rows_of(features: Features, wanted: UidArray, path: Path) -> tuple[UidArray, Floats]:
    """Runs in a worker: uids and unit rows of those of the wanted rows (sorted uids) that a file has."""
    found = list(features.blocks(path, wanted))
    uids = joined([uids for uids, *_ in found], UID_DTYPE)
    vectors = [vectors for _, _, vectors, _ in found]
    return uids, np.concatenate(vectors) if vectors else np.zeros((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Leaks:
    """Rows that are like an evaluation image.

    Args:
        uids: of each.
        copies: int64.
        references: int64: position of the evaluation image that is most like it.
        cosines: float32.
        rows: that were compared, copies counted.
        missing: without finite features, copies counted.
    """

    uids: UidArray
    copies: NDArray[np.int64]
    references: NDArray[np.int64]
    cosines: Floats
    rows: int
    missing: int


def leaks_of(features: Features, references: References, threshold: float, path: Path) -> Leaks:
    """Runs in a worker: the rows of a file that ``datacup dedup decontaminate`` would drop."""
    parts: list[tuple[NDArray[Any], ...]] = []
    rows = missing = 0
    with one_thread_a_worker():
        for uids, copies, vectors, lacking in features.blocks(path):
            check_dimensions({path.stem: vectors.shape[1], "the references": references.rows.shape[1]})
            nearest, cosines, over = most_alike(vectors, references.rows, threshold)
            parts.append((uids[over], copies[over], nearest[over], cosines[over]))
            rows, missing = rows + int(copies.sum()), missing + lacking
    kinds: tuple[Any, ...] = (UID_DTYPE, np.int64, np.int64, np.float32)
    columns = [joined([part[number] for part in parts], kind) for number, kind in enumerate(kinds)]
    return Leaks(columns[0], columns[1], columns[2], columns[3], rows, missing)


def ball_radii(references: Floats, neighbour: int = NEIGHBOUR) -> Floats:
    """Of each reference the cosine with its ``neighbour``-th nearest other one, and ``CLOSER``: float32.

    Args:
        references: unit rows, more than ``neighbour``.
        neighbour: from 1.
    """
    radii = np.empty(len(references), np.float32)
    for start in range(0, len(references), 1 << 10):
        part = slice(start, start + (1 << 10))
        cosines = references[part] @ references.T
        rows = np.arange(len(cosines))
        cosines[rows, rows + start] = -2
        radii[part] = np.partition(cosines, -neighbour, axis=1)[:, -neighbour]
    return radii + np.float32(CLOSER)


def rounded(cosines: Floats) -> NDArray[np.float64]:
    """To ``DIGITS`` digits."""
    digits = cosines.astype(np.float64)
    return np.round(digits, DIGITS, out=digits)
