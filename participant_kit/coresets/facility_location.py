"""SimCore's selection (Kim, Bae and Yun, "Coreset Sampling from Open-Set for Fine-Grained Self-Supervised Learning",
2023): facility location between an open set and the centroids of a target set, iterated.

In every round each centroid takes the row most similar to it that no earlier round took; two may take the same one. The
value F_t of a round is the mean similarity of what was taken, over centroids. After b rows are taken no centroid has
looked at more than its b + 1 best, so only the best rows of each are ever needed: they come as a ``Ranking``, and a
deeper one is asked for when a centroid gets to the end of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from participant_kit.coresets.best_rows import Ranking, Rows

RankingAt = Callable[[int], Ranking]
"""From a depth to the ranking of so many rows for each centroid, or of all where there are fewer."""

FIRST_DEPTH = 1024
DEEPER = 4
_ROUNDS_AHEAD = 4

IMAGENET_IMAGES = 1_281_167
MOST_EPOCHS = 5000


@dataclass(frozen=True, slots=True)
class StopRule:
    """Stop before the first round whose value is below ``tau`` times that of the reference round.

    Args:
        tau: in (0, 1].
        reference_round: counted from 1; SimCore's code has 20, its paper 1. No round before it is tested.
    """

    tau: float = 0.95
    reference_round: int = 20


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that were taken, and how it went.

    Args:
        rows: ascending, int64.
        trace: F_t of every round that was evaluated.
        round_sizes: different rows that it took; of the last one before it was cut or discarded.
        ended: ``threshold`` (the last round is discarded), ``budget`` (it is cut at random), ``exact_budget`` (it
            fits), or ``pool_exhausted``.
        depth: best rows of each centroid that were looked through.
    """

    rows: Rows
    trace: list[float]
    round_sizes: list[int]
    ended: str
    depth: int

    @property
    def kept_rounds(self) -> int:
        """Rounds whose rows, or some of them, are in."""
        return len(self.trace) - (self.ended == "threshold")


def select_rows(
    ranking_at: RankingAt, total: int, columns: int, limit: int, rule: StopRule | None = None, seed: int = 0
) -> Selection:
    """Take rows in rounds until there are ``limit``, or the rule says stop.

    Args:
        ranking_at: asked once for a first depth and again where a centroid needs more.
        total: rows of the open set, numbered from 0.
        columns: centroids.
        limit: rows at most, from 1; the round that would exceed it is cut by a draw.
        rule: of stopping; none for a budget.
        seed: of that draw.
    """
    rounds = _Rounds(ranking_at, total, limit, columns)
    taken: list[Rows] = []
    count, ended = 0, ""
    least = -np.inf
    while not ended:
        picks = rounds.next_round()
        if picks is None:
            ended = "pool_exhausted"
            break
        if rule is not None and len(rounds.trace) == rule.reference_round:
            least = rule.tau * rounds.trace[-1]
        if rounds.trace[-1] < least:
            ended = "threshold"
            break
        if count + len(picks) > limit:
            picks = np.random.default_rng(seed).choice(picks, limit - count, replace=False)
            ended = "budget"
        taken.append(picks)
        count += len(picks)
        if count == limit:
            ended = ended or "exact_budget"
    rows = np.sort(np.concatenate(taken)) if taken else np.zeros(0, dtype=np.int64)
    return Selection(rows, rounds.trace, rounds.sizes, ended, rounds.depth)


def first_depth(limit: int, centroids: int, total: int) -> int:
    """How deep to rank before anything is known: a few times the rounds there must be."""
    return min(total, limit + 1, max(FIRST_DEPTH, _ROUNDS_AHEAD * -(-limit // centroids)))


def training_epochs(selected: int) -> int:
    """SimCore's rule in stop mode: as many draws from a coreset of any size, 100 epochs of ImageNet's size, capped."""
    return min(MOST_EPOCHS, int(100 / (selected / IMAGENET_IMAGES)))


class _Rounds:
    """One round after another over a ranking that gets deeper."""

    def __init__(self, ranking_at: RankingAt, total: int, limit: int, columns: int) -> None:
        self.trace: list[float] = []
        self.sizes: list[int] = []
        self._ranking_at = ranking_at
        self._most = min(total, limit + 1)
        self._taken = np.zeros(total, dtype=bool)
        self._columns = np.arange(columns)
        self._at = np.zeros(columns, dtype=np.int64)
        self.depth = first_depth(limit, columns, total)
        self._ranking = ranking_at(self.depth)

    def next_round(self) -> Rows | None:
        """The different rows that are taken, ascending; nothing when all are."""
        waiting = self._columns
        while len(waiting):
            if self._at[waiting].max() >= self._ranking.depth and not self._deepen():
                return None
            looked_at = self._ranking.rows[waiting, self._at[waiting]]
            waiting = waiting[self._taken[looked_at]]
            self._at[waiting] += 1
        scores = self._ranking.scores[self._columns, self._at]
        picks: Rows = np.unique(self._ranking.rows[self._columns, self._at])
        self._at += 1
        self._taken[picks] = True
        self.trace.append(float(scores.mean(dtype=np.float64)))
        self.sizes.append(len(picks))
        return picks

    def _deepen(self) -> bool:
        """Is there more to look at?"""
        before = self._ranking.depth
        if before < self.depth or self.depth >= self._most:
            return False
        self.depth = min(self._most, DEEPER * self.depth)
        self._ranking = self._ranking_at(self.depth)
        return self._ranking.depth > before
