"""What a subset file holds, and what two of them have in common."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from competition.data.atomic import storage_errors
from competition.data.digests import file_sha256
from competition.data.uids import load_subset
from competition.progress import ProgressHook
from participant_kit.subsets.algebra import report_rows
from participant_kit.subsets.record import record_path
from participant_kit.subsets.stream import STEP_ROWS, steps


@dataclass(frozen=True, slots=True)
class SubsetInfo:
    """A subset file.

    Args:
        subset: file name.
        rows: uids, copies counted.
        distinct: different uids.
        max_multiplicity: copies of the uid with most; 0 in an empty subset.
        sha256: of the file.
        record: the record beside it; ``None`` without a readable one.
        record_matches: whether that record is of these bytes; ``None`` without a record.
    """

    subset: str
    rows: int
    distinct: int
    max_multiplicity: int
    sha256: str
    record: dict[str, Any] | None
    record_matches: bool | None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two subsets compared, as multisets (rows: copies counted) and as sets (distinct uids).

    Args:
        rows: of A and of B.
        distinct: of A and of B.
        common_rows: sum over all uids of the lesser multiplicity.
        common_distinct: uids that both have.
        only_rows: rows of A that B lacks (``A minus B``), and of B that A lacks.
        only_distinct: uids of A that B lacks altogether, and the other way round.
        jaccard_rows: common rows by ``A or B``'s rows; 1 for two empty subsets.
        jaccard_distinct: common uids by all uids; 1 for two empty subsets.
    """

    rows: tuple[int, int]
    distinct: tuple[int, int]
    common_rows: int
    common_distinct: int
    only_rows: tuple[int, int]
    only_distinct: tuple[int, int]
    jaccard_rows: float
    jaccard_distinct: float

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def describe_subset(path: Path, progress: ProgressHook | None = None, step_rows: int = STEP_ROWS) -> SubsetInfo:
    """Look through a subset once.

    Raises:
        DataFormatError: it is damaged or unsorted.
        StorageError: it cannot be read.
    """
    source = load_subset(path)
    distinct = most = 0
    for uids, counts in steps([source], step_rows):
        distinct += len(uids)
        most = max(most, int(counts.max(initial=0)))
        report_rows(progress, "counting", uids, [source])
    sha256 = file_sha256(path)
    record = _read_record(path)
    matches = None if record is None else record.get("subset_sha256") == sha256
    return SubsetInfo(path.name, len(source), distinct, most, sha256, record, matches)


def compare_subsets(
    first: Path, second: Path, progress: ProgressHook | None = None, step_rows: int = STEP_ROWS
) -> Overlap:
    """Compare two subsets in one pass over both.

    Raises:
        DataFormatError: one is damaged or unsorted.
        StorageError: one cannot be read.
    """
    sources = [load_subset(first), load_subset(second)]
    distinct = np.zeros(2, dtype=np.int64)
    common_rows = common_distinct = 0
    for uids, counts in steps(sources, step_rows):
        least = counts.min(axis=0)
        distinct += np.count_nonzero(counts, axis=1)
        common_rows += int(least.sum())
        common_distinct += int(np.count_nonzero(least))
        report_rows(progress, "comparing", uids, sources)
    rows = (len(sources[0]), len(sources[1]))
    kinds = (int(distinct[0]), int(distinct[1]))
    return Overlap(
        rows,
        kinds,
        common_rows,
        common_distinct,
        (rows[0] - common_rows, rows[1] - common_rows),
        (kinds[0] - common_distinct, kinds[1] - common_distinct),
        _jaccard(common_rows, sum(rows)),
        _jaccard(common_distinct, sum(kinds)),
    )


def _jaccard(common: int, both: int) -> float:
    return common / (both - common) if both else 1.0


def _read_record(path: Path) -> dict[str, Any] | None:
    beside = record_path(path)
    if not beside.exists():
        return None
    with storage_errors("reading", beside):
        content = beside.read_bytes()
    try:
        record = json.loads(content)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
