"""Chance that belongs to a sample: the same uid and seed always draw the same, in whatever order or file rows come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from competition.data.uids import UidArray

MOST_COPIES = 100

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_UNIT = 2.0**-53


def lots(uids: UidArray, seed: int, purpose: int) -> NDArray[np.uint64]:
    """A uniform 64-bit number for every uid: both halves of the uid, the seed and the purpose through SplitMix64's
    finaliser (Steele et al., "Fast splittable pseudorandom number generators", 2014). Equal uids have equal lots.

    Args:
        uids: shape (rows,).
        seed: not negative.
        purpose: keeps draws of one seed for different ends independent.
    """
    start = np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)
    upper: NDArray[np.uint64] = uids["f0"]
    lower: NDArray[np.uint64] = uids["f1"]
    return _mix(_mix(np.add(lower, start, dtype=np.uint64)) ^ upper)


def poisson_copies(uids: UidArray, expected: NDArray[np.float64], seed: int, purpose: int) -> NDArray[np.int64]:
    """How often each sample is drawn: Poisson with the expected number, which is what drawing with replacement from a
    large pool comes to; every sample by itself, so that neither order nor number of the others matters.

    Returns:
        int64 of shape (rows,); ``MOST_COPIES + 1`` stands for any larger number.
    """
    chance = (lots(uids, seed, purpose) >> np.uint64(11)) * _UNIT
    copies = np.full(len(uids), MOST_COPIES + 1, dtype=np.int64)
    open_rows = np.arange(len(uids))
    probability = np.exp(-expected)
    reached = probability.copy()
    for count in range(MOST_COPIES + 1):
        decided = chance[open_rows] < reached
        copies[open_rows[decided]] = count
        open_rows, probability, reached = open_rows[~decided], probability[~decided], reached[~decided]
        if not len(open_rows):
            break
        probability = probability * expected[open_rows] / (count + 1)
        reached = reached + probability
    return copies


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + _GOLDEN_GAMMA
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
