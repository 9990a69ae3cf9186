"""A way to find duplicates run over a pool's metadata: a subset with its record, and its groups beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.engine import Workers
from competition.data.uids import sort_uids
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.dedup.groups import Groups, Rows, groups_of, summary
from participant_kit.dedup.keep import Keep, KeepRule, PoolRows
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.record import SubsetReport, check_save_path
from participant_kit.subsets.result import SubsetResult
from participant_kit.subsets.run import Choice, run_choice

Found = tuple[SubsetResult, Groups]


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """What a run left.

    Args:
        report: the subset's record.
        groups: path of the groups.
        found: how many groups, how many members, and the size of the largest.
    """

    report: SubsetReport
    groups: Path
    found: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {**self.report.as_json(), "groups": str(self.groups), "found": self.found}


@dataclass(frozen=True, slots=True)
class Way:
    """A way to find duplicates, and what the record says of it.

    Args:
        name: for instance ``dedup_exact``.
        options: JSON.
        find: from the pool to what is kept, and groups.
        assets: further files that the result depends on, by role.
    """

    name: str
    options: Mapping[str, Any]
    find: Callable[[MetadataPool], Found]
    assets: Mapping[str, Path] = field(default_factory=dict)


def groups_path(save_path: Path) -> Path:
    """Where the groups of a subset go."""
    return save_path.with_name(f"{save_path.name}.groups.parquet")


def deduplicate(
    way: Way, metadata_dir: Path, save_path: Path, workers: Workers = 1, progress: ProgressHook | None = None
) -> Deduplicated:
    """Write the sorted uids that are kept to ``save_path``, the record to ``<save_path>.json`` and the groups to
    ``<save_path>.groups.parquet``.

    Raises:
        UsageError: not a ``.npy`` path, or what the way itself refuses.
        DataFormatError: a file is damaged or lacks a column.
        StorageError: a file cannot be read or written.
    """
    check_save_path(save_path)
    groups: list[Groups] = []

    def select(pool: MetadataPool) -> SubsetResult:
        result, found = way.find(pool)
        groups.append(found)
        return result

    choice = Choice(way.name, way.options, select, way.assets)
    report = run_choice(choice, metadata_dir, save_path, workers, progress)
    path = groups_path(save_path)
    groups[0].write(path)
    return Deduplicated(report, path, summary(groups[0]))


def described(rule: KeepRule, *, by_pair: bool) -> dict[str, Any]:
    """A keep rule as records name it."""
    said: dict[str, Any] = {"keep": str(rule.keep), "linkage": "pair" if by_pair else "group"}
    return said | ({"score": rule.score} if rule.keep is Keep.BEST else {})


def outside(within: Path | None, inside: NDArray[np.bool_]) -> dict[str, int]:
    """The count of rows that a subset leaves out, where there is a subset."""
    return {} if within is None else {"not_in_subset": int(np.count_nonzero(~inside))}


def subset_asset(within: Path | None) -> dict[str, Path]:
    """The subset that alone is looked at, as a file that the result depends on."""
    return {} if within is None else {"within": within}


def refuse_outermost(rule: KeepRule) -> None:
    """Refuse the keep rule that needs clusters.

    Raises:
        UsageError: it is ``outermost``.
    """
    if rule.keep is Keep.OUTERMOST:
        raise UsageError("--keep outermost needs clusters.", hint="Only `datacup dedup semantic` has them.")


def resolved(
    rows: PoolRows,
    comparable: Rows,
    dropped: Mapping[str, int],
    reason: str,
    linked: tuple[Rows, Rows, Rows],
    measures: NDArray[np.float32] | None,
) -> Found:
    """What is kept of a pool, and the groups.

    Args:
        rows: of the pool.
        comparable: positions of those that could be compared.
        dropped: the others, by reason.
        reason: for those that are duplicates.
        linked: for each comparable row its rank, its group and the rank that stays in its place.
        measures: of each comparable row, if there are any.
    """
    ranks, labels, least = linked
    worse = ranks > least
    uids = rows.uids[comparable]
    counts = {**dropped, reason: int(np.count_nonzero(worse))}
    result = SubsetResult(sort_uids(uids[~worse]), len(rows.uids), counts)
    return result, groups_of(uids, labels, worse, measures)
