"""The search for a weight decay that ELEVATER and CLIP_benchmark share: coarse, then nearer and nearer to the peak.

Seven of 97 points that are even in logarithm, then the neighbours of the best so far at a distance of 8, 4, 2 and 1.
Only a score that is strictly greater replaces the best, which starts at 0, so a candidate that diverged never does. The
learning rates are searched side by side, so that all their candidates of a round can be trained at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from competition.errors import EvaluationError
from competition.evaluation.linear_probe.heads import Candidate

POINTS = 97
_COARSE_DISTANCE = 16
_DISTANCES = (8, 4, 2, 1)

Scores = Callable[[Sequence[Candidate]], Sequence[float]]
"""From candidates to their scores on the validation set, 0 for those that diverged."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best candidate, its score, and how many were trained to find it."""

    candidate: Candidate
    score: float
    trainings: int


def weight_decays(lowest: float, highest: float) -> tuple[float, ...]:
    """The 97 points from 10 ** lowest to 10 ** highest."""
    return tuple(float(value) for value in np.logspace(lowest, highest, num=POINTS))


def peak_search(scores: Scores, learning_rates: Sequence[float], decays: Sequence[float]) -> Found:
    """Find each learning rate's weight decay, then the best pair, of equal ones that of the first learning rate.

    Args:
        scores: trains and scores candidates; no candidate is asked for twice.
        learning_rates: ascending.
        decays: 97 points, ascending.

    Raises:
        EvaluationError: no candidate scores above 0.
    """
    known: dict[tuple[int, int], float] = {}
    best = [(0, 0.0)] * len(learning_rates)
    for distance in (None, *_DISTANCES):
        wanted = [_points(peak, distance) for peak, _ in best]
        pairs = [(row, point) for row, points in enumerate(wanted) for point in points if (row, point) not in known]
        if pairs:
            asked = [Candidate(learning_rates[row], decays[point]) for row, point in pairs]
            known.update(zip(pairs, scores(asked), strict=True))
        for row, points in enumerate(wanted):
            for point in points:
                if known[row, point] > best[row][1]:
                    best[row] = (point, known[row, point])
    row = max(range(len(best)), key=lambda number: best[number][1])  # the first of equals
    point, score = best[row]
    if not score > 0:
        raise EvaluationError(
            "No candidate of the linear probe is ever right on the validation set.",
            hint="Are the labels of the training set those of the evaluation set?",
        )
    return Found(Candidate(learning_rates[row], decays[point]), score, len(known))


def _points(peak: int, distance: int | None) -> list[int]:
    if distance is None:
        return list(range(0, POINTS, _COARSE_DISTANCE))
    return sorted({max(peak - distance, 0), min(peak + distance, POINTS - 1)} - {peak})
