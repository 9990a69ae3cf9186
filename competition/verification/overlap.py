"""Copies of test images in the parts of an entry's data: how many of each task's, and whether they are too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from competition.data.uids import UidArray
from competition.errors import RejectionError, RejectionReason
from competition.evaluation.copies import Fingerprints, Mask, find_copies
from competition.records.overlap import TaskOverlap
from competition.rules import Contamination

if TYPE_CHECKING:
    from competition.evaluation.pool_copies import PoolCopies


@dataclass(frozen=True, slots=True)
class ComparedTask:
    """A task, its test images, and which samples of the pool are copies of them (None: not known).

    ``title`` is what messages call the task: that of a hidden one says no more than that it is hidden.
    """

    task: str
    title: str
    tests: Fingerprints
    pool: PoolCopies | None


@dataclass(slots=True)
class _Found:
    """Masks over a task's test images of what was found so far."""

    exact: Mask
    copied: Mask
    samples: int = 0

    @classmethod
    def nothing(cls, tests: int) -> _Found:
        return cls(np.zeros(tests, dtype=bool), np.zeros(tests, dtype=bool))


@dataclass(slots=True)
class Comparison:
    """Compares the parts of an entry's data with the test images of all tasks."""

    tasks: Sequence[ComparedTask]
    cosine: float
    _own: list[_Found] = field(init=False)
    _subset: list[_Found] = field(init=False)

    def __post_init__(self) -> None:
        self._own = [_Found.nothing(len(task.tests)) for task in self.tasks]
        self._subset = [_Found.nothing(len(task.tests)) for task in self.tasks]

    def add_subset(self, uids: UidArray) -> None:
        """Samples of the pool: a sorted subset."""
        for task, found in zip(self.tasks, self._subset, strict=True):
            if task.pool is not None:
                exact, copied, samples = task.pool.within(uids, len(task.tests))
                found.exact |= exact
                found.copied |= copied
                found.samples += samples

    def add_own(self, images: Fingerprints) -> None:
        """External images, some thousands at a time."""
        for task, found in zip(self.tasks, self._own, strict=True):
            copies = find_copies(images, task.tests, self.cosine)
            found.exact |= copies.exact
            found.copied |= copies.exact | copies.near
            found.samples += int(np.count_nonzero(copies.samples))

    def add_digests(self, encoded: Sequence[str]) -> None:
        """External images of which only the sha256 of their bytes is known, in hex."""
        self.add_own(Fingerprints.of_digests(encoded))

    def overlaps(self) -> list[TaskOverlap]:
        """Of every task, what all parts together have."""
        return [
            TaskOverlap(
                task=task.task,
                images=len(task.tests),
                exact=int(np.count_nonzero(own.exact | subset.exact)),
                copied=int(np.count_nonzero(own.copied | subset.copied)),
                samples=own.samples + subset.samples,
            )
            for task, own, subset in zip(self.tasks, self._own, self._subset, strict=True)
        ]

    def check(self, rule: Contamination) -> None:
        """Raise ``RejectionError`` where a part has more of a task's test images than the rule allows."""
        for task, own, subset in zip(self.tasks, self._own, self._subset, strict=True):
            for found, allowed, what in (
                (own, rule.own_share, "external data"),
                (subset, rule.subset_share, "subset"),
            ):
                count, total = int(np.count_nonzero(found.copied)), len(task.tests)
                if count > allowed * total:
                    raise RejectionError(
                        RejectionReason.CONTAMINATED,
                        f"The {what} of this entry holds copies of {count} of the {total} test images of {task.title} "
                        f"({count / total:.1%}); at most {allowed:.1%} are allowed.",
                    )
