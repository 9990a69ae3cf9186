"""Uncertainty: intervals, bootstrap replicates with common random numbers, and ranks the data can tell apart.

Pure and seeded: the same numbers in give the same numbers out, on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

CONFIDENCE = 0.95
REPLICATES = 2000
_CHUNK_ELEMENTS = 20_000_000


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact (conservative) two-sided interval of a proportion (Clopper and Pearson 1934).

    Raises ``ValueError`` unless 0 <= successes <= trials, trials >= 1 and 0 < confidence < 1.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials is not a proportion")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"{confidence} is not a confidence level between 0 and 1")
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1.0 - tail, successes + 1, trials - successes))
    return low, high


def bootstrap_replicates(
    components: Sequence[NDArray[np.floating]], *, seed_text: str, replicates: int = REPLICATES
) -> NDArray[np.float64]:
    """Bootstrap replicates [replicates] of the mean over components of each component's mean.

    ``components`` are 1-D arrays of outcomes of independent units; no unit is in two of them. Resampling indices depend
    only on ``seed_text`` (of an evaluation: the suite's digest), and on the length and the place of a component among
    the others. Entries evaluated on the same units share them, so that the difference of two entries' replicates is a
    paired bootstrap; and so do tasks of as many units, so that the mean over two renderings of the same images is as
    uncertain as the images make it. The components of one task do not, however long: classes of as many images would
    be resampled as one, and the width of their interval would hang on a few dozen positions instead of all images.
    Raises ``ValueError`` when there is no component or an empty one.
    """
    if not components or any(len(component) == 0 for component in components):
        raise ValueError("bootstrap needs at least one unit in every component")
    total = np.zeros(replicates)
    for place, component in enumerate(components):
        generator = _generator(seed_text, len(component), place)
        total += _resampled_means(np.asarray(component, dtype=np.float64), generator, replicates)
    return total / len(components)


def common_replicates(
    entries: Sequence[Sequence[NDArray[np.floating]]], *, seed_text: str, replicates: int = REPLICATES
) -> NDArray[np.float64]:
    """``bootstrap_replicates`` of many entries on the same units, [entries, replicates], equal up to rounding.

    Each resample is drawn and counted once for all entries; with dozens of them that takes a fraction of the time.
    Raises ``ValueError`` also when the entries' components differ in number or length.
    """
    shapes = {tuple(map(len, components)) for components in entries}
    if len(shapes) != 1 or not all(next(iter(shapes))) or not next(iter(shapes)):
        raise ValueError("entries need the same units, at least one in every component")
    total = np.zeros((len(entries), replicates))
    for place, parts in enumerate(zip(*entries, strict=True)):
        values = np.stack(parts).astype(np.float64)
        units = values.shape[1]
        generator = _generator(seed_text, units, place)
        rows = max(1, _CHUNK_ELEMENTS // units)
        for start in range(0, replicates, rows):
            drawn = generator.integers(0, units, size=(min(rows, replicates - start), units), dtype=np.int64)
            for offset, indices in enumerate(drawn):
                total[:, start + offset] += values @ np.bincount(indices, minlength=units) / units
    return total / len(shapes.pop())


def _generator(seed_text: str, units: int, place: int) -> np.random.Generator:
    """Of the resamples of a component; the first one's are those of the reports and standings that have one alone."""
    seed = int.from_bytes(hashlib.sha256(seed_text.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, units, place] if place else [seed, units])


def _resampled_means(
    values: NDArray[np.float64], generator: np.random.Generator, replicates: int
) -> NDArray[np.float64]:
    rows = max(1, _CHUNK_ELEMENTS // len(values))
    means = np.empty(replicates)
    for start in range(0, replicates, rows):
        stop = min(start + rows, replicates)
        indices = generator.integers(0, len(values), size=(stop - start, len(values)), dtype=np.int64)
        means[start:stop] = values[indices].mean(axis=1)
    return means


def percentile_interval(replicates: NDArray[np.float64], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Percentile interval of bootstrap replicates [R]."""
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(replicates, [tail, 100.0 - tail])
    return float(low), float(high)


def rank_ranges(
    replicates: NDArray[np.float64], confidence: float = CONFIDENCE
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lowest and highest rank [N] (1 = best) that the data allow each of N entries, higher scores being better.

    ``replicates`` is [N, R] with common random numbers. Entry i is clearly better than j when the paired percentile
    interval of their difference lies above zero; then rank_low = 1 + number clearly better, rank_high = N - number
    clearly worse. Every pair is judged at ``confidence`` on its own: with many entries some ranges will miss.
    """
    entries = len(replicates)
    tail = 50.0 * (1.0 - confidence)
    better = np.zeros(entries, dtype=np.int64)
    worse = np.zeros(entries, dtype=np.int64)
    for i in range(entries - 1):
        rivals = slice(i + 1, entries)
        low, high = np.percentile(
            replicates[i] - replicates[rivals], [tail, 100.0 - tail], axis=1, overwrite_input=True
        )
        worse[i] += np.count_nonzero(low > 0.0)
        better[rivals] += low > 0.0
        better[i] += np.count_nonzero(high < 0.0)
        worse[rivals] += high < 0.0
    return 1 + better, entries - worse


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test (McNemar 1947) that two entries are right equally often.

    ``only_first`` units are right for the first entry alone, ``only_second`` for the second alone. Were the entries
    equally good, each of these would fall on either side with probability 1/2. Units where both agree say nothing;
    without others p is 1.
    Raises ``ValueError`` for a negative count.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"{only_first} and {only_second} are not counts")
    differing = only_first + only_second
    return min(1.0, 2.0 * float(binom.cdf(min(only_first, only_second), differing, 0.5))) if differing else 1.0
