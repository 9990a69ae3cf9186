"""Samples that may get a label, and the rules by which some of them do: the same for every strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.uids import UID_DTYPE, UidArray
from competition.errors import UsageError
from participant_kit.subsets.draw import lots
from participant_kit.subsets.quotas import even_quotas

PURPOSE = 5
"""Of the lots by which samples without a score are chosen; see ``subsets.draw.lots``."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs of a sample and a class, in any order; all arrays have shape (pairs,).

    Args:
        uids: of the samples.
        labels: int32, index of the class.
        scores: float64, larger is better; all 0 where the strategy has none.
        sources: int32, what spoke for the label, see ``Strategy.source``; the least of equals counts.
    """

    uids: UidArray
    labels: NDArray[np.int32]
    scores: NDArray[np.float64]
    sources: NDArray[np.int32]

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """Those of several parts."""
        return cls(
            np.concatenate([np.zeros(0, UID_DTYPE), *(part.uids for part in parts)]),
            np.concatenate([np.zeros(0, np.int32), *(part.labels for part in parts)]),
            np.concatenate([np.zeros(0, np.float64), *(part.scores for part in parts)]),
            np.concatenate([np.zeros(0, np.int32), *(part.sources for part in parts)]),
        )

    def __len__(self) -> int:
        return len(self.uids)

    def take(self, rows: NDArray[Any]) -> Candidates:
        """Some of them, by position or mask."""
        return Candidates(self.uids[rows], self.labels[rows], self.scores[rows], self.sources[rows])


@dataclass(frozen=True, slots=True)
class Quota:
    """How large a dataset shall be.

    Args:
        size: samples of all classes together, spread as evenly as the classes allow; any number when absent.
        per_class: at most, of each class; any number when absent.
        seed: of the lots by which samples without a score are chosen.
    """

    size: int | None = None
    per_class: int | None = None
    seed: int = 0

    def check(self) -> None:
        """Refuse sizes that mean nothing.

        Raises:
            UsageError: a number below 1, or a negative seed.
        """
        for flag, value in (("--size", self.size), ("--per-class", self.per_class)):
            if value is not None and value < 1:
                raise UsageError(f"{flag} {value} is not above 0.")
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed} is negative.")

    def of(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many samples each class gives, of the ``counts`` that it has.

        A size is filled evenly, see ``even_quotas``.
        """
        most = counts if self.per_class is None else np.minimum(counts, self.per_class)
        return most if self.size is None else even_quotas(most, self.size)


def best_of_each(candidates: Candidates, *, by_class: bool) -> Candidates:
    """The best pair of every sample (or of every sample and class), sorted by uid (and class).

    The best one has the largest score; of equals the first class counts, then the least source, so that neither the
    order of pairs nor that of files matters.
    """
    c = candidates
    ranking = (c.sources, -c.scores, c.labels) if by_class else (c.sources, c.labels, -c.scores)
    order = np.lexsort((*ranking, c.uids["f1"], c.uids["f0"]))
    ordered = c.take(order)
    first = np.ones(len(ordered), dtype=bool)
    first[1:] = ordered.uids[1:] != ordered.uids[:-1]
    if by_class:
        first[1:] |= ordered.labels[1:] != ordered.labels[:-1]
    return ordered.take(first)


def of_one_class(candidates: Candidates) -> NDArray[np.bool_]:
    """Which of these pairs, sorted by uid, belong to a sample with no other class."""
    uids, labels = candidates.uids, candidates.labels
    starts = np.flatnonzero(np.append(True, uids[1:] != uids[:-1])) if len(uids) else np.zeros(0, np.int64)
    if not len(starts):
        return np.zeros(0, dtype=bool)
    same = np.minimum.reduceat(labels, starts) == np.maximum.reduceat(labels, starts)
    return np.repeat(same, np.diff(np.append(starts, len(uids))))


def within_quota(candidates: Candidates, quota: Quota, classes: int, *, scored: bool) -> NDArray[np.bool_]:
    """Which pairs stay: of each class the best, or those with the least lots where there is no score; ties by uid."""
    counts = np.bincount(candidates.labels, minlength=classes).astype(np.int64)
    given = quota.of(counts)
    uids = candidates.uids
    first = -candidates.scores if scored else lots(uids, quota.seed, PURPOSE)
    order = np.lexsort((uids["f1"], uids["f0"], first, candidates.labels))
    labels = candidates.labels[order]
    rank = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels]
    kept = np.zeros(len(labels), dtype=bool)
    kept[order] = rank < given[labels]
    return kept
