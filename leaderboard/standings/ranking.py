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

    Entries that do not compete (baselines) are placed but not ranked.
    """

    key: str
    score: float | None
    replicates: bytes | None
    submitted_at: datetime
    competes: bool = True


@dataclass(frozen=True)
class Place:
    """Where an entry stands: its rank, and the range of ranks that the data allow (95 %). None = not ranked."""

    key: str
    rank: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None


def rank(entrants: Sequence[Entrant]) -> list[Place]:
    """Places in the order of the table: best first, entries without a score last, ties by earliest submission.

    The order of ``entrants`` does not matter. 1 <= rank_low <= rank <= rank_high <= number of ranked entries.
    """
    ordered = sorted(entrants, key=_position)
    ranked = [entrant for entrant in ordered if entrant.competes and entrant.score is not None]
    known = [entrant.replicates for entrant in ranked if entrant.replicates is not None]
    ranges = _ranges(tuple(known)) if ranked and len(known) == len(ranked) else None
    places = {}
    for index, entrant in enumerate(ranked):
        number = index + 1
        low, high = (1, len(ranked)) if ranges is None else ranges[index]
        places[entrant.key] = Place(entrant.key, number, min(low, number), max(high, number))
    return [places.get(entrant.key, Place(entrant.key)) for entrant in ordered]


def _position(entrant: Entrant) -> tuple[bool, float, datetime, str]:
    score = entrant.score
    return score is None, 0.0 if score is None else -score, entrant.submitted_at, entrant.key


# Comparing all pairs is the dear part of a page; the same entries give the same ranges.
@lru_cache(maxsize=32)
def _ranges(replicates: tuple[bytes, ...]) -> list[tuple[int, int]]:
    lows, highs = rank_ranges(
        np.stack([np.frombuffer(stored, dtype="<f4").astype(np.float64) for stored in replicates])
    )
    return [(int(low), int(high)) for low, high in zip(lows, highs, strict=True)]
