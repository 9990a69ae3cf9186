"""Proxy A-distance (Ben-David et al. 2007): how well a linear classifier tells two sets of features apart.

2 (1 - 2 error): 0 where it does no better than chance, 2 where it is always right.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation.dataset_metrics.features import Features, Floats, Integers, pair

PENALTIES = tuple(10.0**power for power in range(-5, 5))
"""C of the support vector machine: GenBench's ten."""

SPLITS = 5
MOST_ROWS = 2000
_LEAST_ROWS = 4
_MOST_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class ProxyADistance:
    """The distance over several random splits.

    Args:
        value: 2 (1 - 2 e), e the mean error over the splits or one half, whichever is less; from 0 to 2.
        deviation: standard deviation of 2 (1 - 2 error) over the splits.
        rows: of each set that a split has.
        penalties: C chosen in each split.
    """

    value: float
    deviation: float
    rows: int
    penalties: tuple[float, ...]


def proxy_a_distance(
    first: NDArray[Any] | Features,
    second: NDArray[Any] | Features,
    *,
    splits: int = SPLITS,
    seed: int = 0,
    most_rows: int = MOST_ROWS,
    penalties: Sequence[float] = PENALTIES,
) -> ProxyADistance:
    """The balanced distance: as many rows of each set, in random order, C chosen on rows that do not decide.

    In each split n rows are drawn of each set, n the smaller set's size or ``most_rows``. Half of them train linear
    support vector machines (squared hinge loss), on a quarter the C with the least error is chosen (of equal ones the
    smallest), and the errors on the last quarters make the distance.
    Equal row numbers are drawn of sets of equal size, so that rows which belong together (an image and its variant) are
    on the same side, and the distance of a set to itself is 0. Features are centred and divided by their root mean
    square, which neither shifting nor scaling nor rotating both sets changes.

    Args:
        first: (rows, dimensions).
        second: likewise.
        splits: how many random splits.
        seed: of the splits.
        most_rows: of each set in a split, which bounds time and memory.
        penalties: C to choose from.

    Raises:
        EvaluationError: fewer than four rows in a set, no split or penalty, other dimensions, or a machine that does
            not converge.
        ModelOutputError: a feature that is not finite.
    """
    one, other = pair(first, second, least=_LEAST_ROWS)
    if splits < 1 or most_rows < _LEAST_ROWS or not penalties or min(penalties) <= 0:
        raise EvaluationError(
            f"{splits} splits of {most_rows:,} rows with penalties {list(penalties)} define no distance.",
            hint=f"Take one split or more, of {_LEAST_ROWS} rows or more, with positive penalties.",
        )
    rows = min(one.rows, other.rows, most_rows)
    found = [
        _one_split(_drawn(one, rows, [seed, number]), _drawn(other, rows, [seed, number]), sorted(penalties))
        for number in range(splits)
    ]
    errors = np.array([error for error, _ in found])
    distance = max(0.0, 2 * (1 - 2 * float(errors.mean())))
    return ProxyADistance(distance, 4 * float(errors.std()), rows, tuple(penalty for _, penalty in found))


def genbench_proxy_a_distance(first: NDArray[Any] | Features, second: NDArray[Any] | Features) -> float:
    """As GenBench computes it, for comparison with its figures alone.

    The first half of each set trains and the second half tests, in the order of the rows; C is the one with the least
    min(error, 1 - error) on the test half; the sets may be of different sizes. All three make sets of one distribution
    look distant: of 200 rows and 10,000, answering always with the larger set gives 1.92.

    Raises:
        EvaluationError: fewer than two rows in one, or other dimensions.
        ModelOutputError: a feature that is not finite.
    """
    from sklearn.svm import SVC

    one, other = pair(first, second, least=2)
    sides = [features.every() for features in (one, other)]
    training, training_sides = _labelled([side[: len(side) // 2] for side in sides])
    test, test_sides = _labelled([side[len(side) // 2 :] for side in sides])
    least = 1.0
    for penalty in PENALTIES:
        machine = SVC(C=penalty, kernel="linear").fit(training, training_sides)
        error = float(np.mean(machine.predict(test) != test_sides))
        least = min(least, error, 1 - error)
    return 2 * (1 - 2 * least)


def _drawn(features: Features, rows: int, seed: list[int]) -> Floats:
    order = np.random.default_rng(seed).permutation(features.rows)[:rows]
    return features.take(order.astype(np.int64))


def _one_split(first: Floats, second: Floats, penalties: Sequence[float]) -> tuple[float, float]:
    """The error, and the penalty that was chosen."""
    quarter = len(first) // 4
    folds = (slice(2 * quarter, None), slice(quarter, 2 * quarter), slice(0, quarter))
    (training, training_sides), selection, test = (_labelled([first[fold], second[fold]]) for fold in folds)
    centre = training.mean(axis=0)
    size = float(np.sqrt(np.mean((training - centre) ** 2))) or 1.0
    machines = [_Machine.trained((training - centre) / size, training_sides, penalty) for penalty in penalties]
    errors = [machine.error((selection[0] - centre) / size, selection[1]) for machine in machines]
    best = int(np.argmin(errors))
    return machines[best].error((test[0] - centre) / size, test[1]), penalties[best]


@dataclass(frozen=True, slots=True)
class _Machine:
    """A linear classifier of sides 0 and 1."""

    weights: Floats
    bias: float

    @classmethod
    def trained(cls, rows: Floats, sides: Integers, penalty: float) -> _Machine:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC

        machine = LinearSVC(C=penalty, loss="squared_hinge", dual=False, max_iter=_MOST_STEPS)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                machine.fit(rows, sides)
            except ConvergenceWarning as unfinished:
                raise EvaluationError(
                    f"The support vector machine with C = {penalty:g} does not converge in {_MOST_STEPS:,} steps.",
                    hint="Give smaller penalties.",
                ) from unfinished
        return cls(machine.coef_[0], float(machine.intercept_[0]))

    def error(self, rows: Floats, sides: Integers) -> float:
        """Share of wrong answers; a row on the border counts half."""
        decisions = rows @ self.weights + self.bias
        wrong = np.where(decisions == 0, 0.5, (decisions > 0) != (sides == 1))
        return float(wrong.mean())


def _labelled(sides: Sequence[Floats]) -> tuple[Floats, Integers]:
    labels = np.repeat(np.arange(len(sides), dtype=np.int64), [len(side) for side in sides])
    return np.concatenate(sides), labels
