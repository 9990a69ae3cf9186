"""Rows of reference sets that were read already. Sets never change, so nothing here can be out of date."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from competition.records.references import ReferenceRow

_MOST_VALUES = 100_000


class KeptRows:
    """Sets by id, the last used ones, with at most ``most`` numbers in all. May be used by several threads."""

    def __init__(self, most: int = _MOST_VALUES) -> None:
        self._most = most
        self._kept: OrderedDict[str, tuple[ReferenceRow, ...]] = OrderedDict()
        self._lock = Lock()

    def get(self, set_id: str) -> tuple[ReferenceRow, ...] | None:
        """The rows of a set, if they are kept."""
        with self._lock:
            if set_id in self._kept:
                self._kept.move_to_end(set_id)
            return self._kept.get(set_id)

    def put(self, set_id: str, rows: tuple[ReferenceRow, ...]) -> None:
        """Keep the rows of a set, and forget those that were not used for longest."""
        with self._lock:
            self._kept[set_id] = rows
            while len(self._kept) > 1 and sum(map(_values, self._kept.values())) > self._most:
                self._kept.popitem(last=False)


def _values(rows: tuple[ReferenceRow, ...]) -> int:
    return sum(len(row.tasks) + len(row.aggregates) + len(row.others) for row in rows)
