"""Ranking, pure: from scores and their bootstrap replicates to ranks and rank ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import numpy as np

from competition.statistics import rank_ranges


@dataclass(frozen=True)
class Entrant:
    """One entry. ``replicates`` are the stored bytes (float32) of its score's bootstrap replicates [2000].

    They are None where the score has no interval: how far it would differ on other samples is not known. Entries that
    do not compete (baselines) are placed but not ranked.
    """

    key: str
    score: float | None
    replicates: bytes | None
    submitted_at: datetime
    competes: bool = True


@dataclass(frozen=True)
class Place:
    """Where an entry stands: its rank, and the range of ranks that the data allow (95 %).

    A rank of None: not ranked. A rank without a range: placed by its value, and the range is not known.
    """

    key: str
    rank: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None


def rank(entrants: Sequence[Entrant], *, less_is_better: bool = False) -> list[Place]:
    """Places in the order of the table: best first, entries without a score last, ties by earliest submission.

    The order of ``entrants`` does not matter. 1 <= rank_low <= rank <= rank_high <= number of ranked entries. Nothing
    is clearly better or worse than an entry without replicates: it has no range, and widens those of the others.
    """
    sign = 1.0 if less_is_better else -1.0
    ordered = sorted(entrants, key=lambda entrant: _position(entrant, sign))
    ranked = [entrant for entrant in ordered if entrant.competes and entrant.score is not None]
    known = {entrant.key: entrant.replicates for entrant in ranked if entrant.replicates is not None}
    found = _ranges(tuple(known.values()), less_is_better=less_is_better) if known else []
    ranges = dict(zip(known, found, strict=True))
    places = {}
    for number, entrant in enumerate(ranked, start=1):
        places[entrant.key] = Place(entrant.key, number)
        if entrant.key in ranges:
            low, high = ranges[entrant.key]
            high += len(ranked) - len(known)
            places[entrant.key] = Place(entrant.key, number, min(low, number), max(high, number))
    return [places.get(entrant.key, Place(entrant.key)) for entrant in ordered]


def _position(entrant: Entrant, sign: float) -> tuple[bool, float, datetime, str]:
    score = entrant.score
    return score is None, 0.0 if score is None else sign * score, entrant.submitted_at, entrant.key


# Comparing all pairs is the dear part of a page; the same entries give the same ranges.
@lru_cache(maxsize=32)
def _ranges(replicates: tuple[bytes, ...], *, less_is_better: bool) -> list[tuple[int, int]]:
    values = np.stack([np.frombuffer(stored, dtype="<f4").astype(np.float64) for stored in replicates])
    lows, highs = rank_ranges(-values if less_is_better else values)
    return [(int(low), int(high)) for low, high in zip(lows, highs, strict=True)]
