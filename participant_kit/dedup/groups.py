"""Groups of rows that pairs connect, which row of a group is kept, and the file that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import atomic_writer, storage_errors
from competition.data.uids import UidArray, uids_to_hex
from competition.errors import DataFormatError

Rows = NDArray[np.int64]

KEPT, DROPPED, QUERY, REFERENCE = "kept", "dropped", "query", "reference"
"""What a member of a group is: a row of the pool that stayed or not, or an image that was compared with others."""

_COLUMNS = ("group", "id", "role", "measure")


class UnionFind:
    """Disjoint sets of the rows 0 to ``rows`` - 1, joined by arrays of pairs; 8 bytes a row."""

    def __init__(self, rows: int) -> None:
        self._parent: Rows = np.arange(rows, dtype=np.int64)

    def join(self, first: Rows, second: Rows) -> None:
        """Join each row of ``first`` with that of ``second`` beside it."""
        while len(first):
            first, second = self.roots(first), self.roots(second)
            apart = first != second
            first, second = first[apart], second[apart]
            # A root only ever gets a smaller parent, so there is no circle; of several joins of one root, one holds,
            # and the next round sees to the others.
            np.minimum.at(self._parent, np.maximum(first, second), np.minimum(first, second))

    def roots(self, rows: Rows) -> Rows:
        """The least row of the set of each given row."""
        found = self._parent[rows]
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                self._parent[rows] = found
                return found
            found = above

    def labels(self) -> Rows:
        """The least row of the set of every row."""
        return self.roots(np.arange(len(self._parent)))


class Linkage:
    """Takes pairs of duplicates as they are found, in any order and also twice, and says which ranks stay.

    ``group`` keeps one row of everything that pairs connect, the one with the least rank. ``pair`` drops a row exactly
    when it is a duplicate of one with a lesser rank, kept or not, as SemDeDup does: of a chain of look-alikes whose
    ends differ it can keep several.

    Args:
        ranks: int64, one for each row; the least is kept. Where a row stands for several that are the same, the least
            of theirs.
        by_pair: ``pair`` instead of ``group``.
    """

    def __init__(self, ranks: Rows, *, by_pair: bool = False) -> None:
        self._ranks = ranks
        self._sets = UnionFind(len(ranks))
        self._least = ranks.copy()
        self._by_pair = by_pair

    def add(self, first: Rows, second: Rows) -> None:
        """Rows that are duplicates of the rows beside them."""
        self._sets.join(first, second)
        if self._by_pair:
            np.minimum.at(self._least, first, self._ranks[second])
            np.minimum.at(self._least, second, self._ranks[first])

    def result(self) -> tuple[Rows, Rows]:
        """For every row the least row of its group, and the rank that stays in its place: larger ones are dropped."""
        labels = self._sets.labels()
        if self._by_pair:
            return labels, self._least
        least = np.full(len(labels), np.iinfo(np.int64).max)
        np.minimum.at(least, labels, self._ranks)
        return labels, least[labels]


@dataclass(frozen=True, slots=True)
class Groups:
    """Members of groups, group after group, the largest first.

    Args:
        numbers: int64 (members,), from 0.
        ids: of each member: a uid, or what a reference is called.
        roles: ``kept``, ``dropped``, ``query`` or ``reference``.
        measures: float32 (members,): what the way that found them measured, NaN where it measures nothing.
    """

    numbers: Rows
    ids: list[str]
    roles: list[str]
    measures: NDArray[np.float32]

    @property
    def count(self) -> int:
        """How many groups."""
        return int(self.numbers[-1]) + 1 if len(self.numbers) else 0

    def write(self, path: Path) -> None:
        """Write a parquet file with the columns ``group``, ``id``, ``role`` and ``measure`` (null for none).

        Raises:
            StorageError: it cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        measures = pa.array(self.measures, pa.float32(), mask=np.isnan(self.measures))
        content = dict(zip(_COLUMNS, (self.numbers, self.ids, self.roles, measures), strict=True))
        kinds = (pa.int64(), pa.string(), pa.string(), pa.float32())
        with atomic_writer(path) as stream:
            pq.write_table(pa.table(content, schema=pa.schema(list(zip(_COLUMNS, kinds, strict=True)))), stream)

    @classmethod
    def read(cls, path: Path) -> Groups:
        """Groups as ``write`` left them.

        Raises:
            DataFormatError: it is not such a file.
            StorageError: it cannot be read.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        with storage_errors("reading", path):
            content = path.read_bytes()
        try:
            table = pq.read_table(pa.BufferReader(content), columns=list(_COLUMNS))
            numbers, ids, roles, measures = (table.column(name).to_pylist() for name in _COLUMNS)
            return cls(
                np.array(numbers, dtype=np.int64),
                [str(each) for each in ids],
                [str(each) for each in roles],
                np.array([np.nan if each is None else each for each in measures], dtype=np.float32),
            )
        except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
            raise DataFormatError(
                f"{path} is not a file of groups.", hint="A `datacup dedup` command writes it beside its subset."
            ) from error


def groups_of(
    uids: UidArray, labels: Rows, dropped: NDArray[np.bool_], measures: NDArray[np.float32] | None = None
) -> Groups:
    """The groups of at least two rows; larger ones first, then by their least uid; kept members first, then by uid.

    Args:
        uids: of each row.
        labels: of each row: equal for rows of one group.
        dropped: is the row dropped?
        measures: of each row, if there are any.
    """
    rows = np.flatnonzero(np.bincount(labels, minlength=len(labels))[labels] > 1)
    rows = rows[np.lexsort((rows, uids["f1"][rows], uids["f0"][rows]))]
    numbers = numbered(labels[rows])
    order = np.lexsort((np.arange(len(rows)), dropped[rows], numbers))
    rows, numbers = rows[order], numbers[order]
    found = np.full(len(rows), np.nan, dtype=np.float32) if measures is None else measures[rows]
    roles = np.where(dropped[rows], DROPPED, KEPT).tolist()
    return Groups(numbers, uids_to_hex(uids[rows]), roles, found)


def numbered(labels: Rows) -> Rows:
    """Labels as numbers from 0: the most frequent label is 0, of equally frequent ones the first to come."""
    _, first, places, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    numbers = np.empty(len(first), dtype=np.int64)
    numbers[np.lexsort((first, -counts))] = np.arange(len(first))
    return numbers[places]


def summary(groups: Groups) -> dict[str, Any]:
    """How many groups, how many members, and the size of the largest."""
    sizes = np.bincount(groups.numbers) if groups.count else np.zeros(1, dtype=np.int64)
    return {"groups": groups.count, "members": len(groups.ids), "largest": int(sizes.max())}


def joined(parts: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    """Arrays one behind the other; an empty one of that type where there are none."""
    return np.concatenate([np.zeros(0, dtype=dtype), *parts])
