"""Is a score higher than trainings with other seeds account for? Pure.

The best guess of what another run of the same training scores is the mean of the runs at hand, and a prediction
interval says how far one more run may lie from it: t · s · √(1 + 1/n), with s the standard deviation among n runs and
t of n - 1 degrees of freedom (Hahn and Meeker 1991, *Statistical Intervals*, section 4.7). What is known of the spread
from other runs of the same recipe is pooled with that of these runs, weighted by degrees of freedom, as in an analysis
of variance. The error of the evaluation, bootstrapped over test samples, is added: the half-widths of the two bounds,
in quadrature (Howe 1974, *JASA* 69:789; Zou and Donner 2008, *Statistics in Medicine* 27:1693). Runs on one test set
differ by part of that error already, so that adding it errs on the side of the entry. Pooling variances instead, with
Satterthwaite's degrees of freedom, does not: two runs that agree by chance would be believed too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, hypot, isfinite, sqrt

import numpy as np
from scipy.special import ndtri, stdtrit

MOST_SEEDS = 1000


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """What other runs of the same recipe say: standard deviation ``sd`` >= 0 among seeds, ``degrees`` of freedom."""

    sd: float = 0.0
    degrees: int = 0


@dataclass(frozen=True, slots=True)
class Bar:
    """How sure a judgement must be. Differences are in units of the score.

    Args:
        confidence: one-sided, in (0.5, 1).
        tolerance: a smaller difference counts as none, at least 0.
        resolution: with a wider margin nothing is said; not below ``tolerance``.
    """

    confidence: float
    tolerance: float
    resolution: float

    def __post_init__(self) -> None:
        if not 0.5 < self.confidence < 1 or not 0 <= self.tolerance <= self.resolution or not isfinite(self.resolution):
            raise ValueError("a bar needs 0.5 < confidence < 1 and 0 <= tolerance <= resolution")


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better the first are than the second, and how much better they may be by chance.

    Args:
        gain: mean of the first less that of the second, the other way round where less is better.
        margin: one-sided bound of the gain by chance, at least the tolerance.
        seed_sd: standard deviation among seeds that was used.
        evaluation_error: standard error of the gain from the choice of test samples.
        degrees: of freedom that ``seed_sd`` has.
    """

    gain: float
    margin: float
    seed_sd: float
    evaluation_error: float
    degrees: int

    @property
    def beyond_chance(self) -> bool:
        """Whether the first are better than chance accounts for."""
        return self.gain > self.margin


def compare(
    first: Sequence[float],
    second: Sequence[float],
    evaluation_error: float,
    bar: Bar,
    known: SeedSpread = SeedSpread(),
    *,
    less_is_better: bool = False,
) -> Comparison:
    """Compare scores of runs that differ by their seeds alone, unless something else is behind the first.

    Args:
        first: of an entry (one), or of several runs.
        second: of several runs.
        evaluation_error: see ``Comparison``, at least 0.
        bar: how sure to be.
        known: of other runs of the recipe.
        less_is_better: the least score is the best.

    Raises ``ValueError`` when neither the runs nor ``known`` say anything about the spread, or a number is not finite.
    """
    own_degrees = max(len(first) - 1, 0) + max(len(second) - 1, 0)
    degrees = own_degrees + known.degrees
    if not first or not second or degrees < 1:
        raise ValueError("the spread among seeds needs two runs, or what is known of it")
    if not all(map(isfinite, (*first, *second, evaluation_error, known.sd))):
        raise ValueError("scores and errors must be finite")
    own = _squares(first) + _squares(second)
    pooled = sqrt((own + known.degrees * known.sd**2) / degrees)
    # A subset may be noisier than others are: what its own runs show is not talked down.
    sd = max(pooled, sqrt(own / own_degrees)) if own_degrees else pooled
    difference = fsum(first) / len(first) - fsum(second) / len(second)
    margin = _margin(sd * sqrt(1 / len(first) + 1 / len(second)), degrees, evaluation_error, bar)
    return Comparison(-difference if less_is_better else difference, margin, sd, evaluation_error, degrees)


def seeds_needed(found: Comparison, bar: Bar, known: SeedSpread = SeedSpread(), *, both: bool = False) -> int | None:
    """The least number of runs whose margin is not above the resolution if the spread stays as it was found.

    Args:
        found: by fewer runs.
        bar: how sure to be.
        known: as it was for ``found``.
        both: as many runs on the first side as on the second, instead of one entry.

    Returns:
        None when no number of runs up to ``MOST_SEEDS`` is enough: the test sets are too small, or the bar too high.
    """
    runs = np.arange(2, MOST_SEEDS + 1)
    error = found.seed_sd * np.sqrt((2 if both else 1 + runs) / runs)
    degrees = (2 if both else 1) * (runs - 1) + known.degrees
    enough = (
        np.hypot(stdtrit(degrees, bar.confidence) * error, ndtri(bar.confidence) * found.evaluation_error)
        <= bar.resolution
    )
    return int(runs[enough.argmax()]) if enough.any() else None


def pooled_spread(groups: Sequence[Sequence[float]]) -> SeedSpread:
    """The spread within groups of scores, each of runs on one subset; groups of one run say nothing."""
    degrees = sum(max(len(group) - 1, 0) for group in groups)
    return SeedSpread(sqrt(fsum(map(_squares, groups)) / degrees), degrees) if degrees else SeedSpread()


def _squares(scores: Sequence[float]) -> float:
    """Sum of squared deviations from the mean."""
    return float(np.square(np.asarray(scores) - np.mean(scores)).sum()) if scores else 0.0


def _margin(seed_error: float, degrees: int, evaluation_error: float, bar: Bar) -> float:
    seeds = float(stdtrit(degrees, bar.confidence)) * seed_error
    return max(bar.tolerance, hypot(seeds, float(ndtri(bar.confidence)) * evaluation_error))
