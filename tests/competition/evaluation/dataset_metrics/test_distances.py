"""Distances of two sets: what their definitions say, pair by pair, and what no way of handing over the rows changes."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import ortho_group

from competition.errors import EvaluationError
from competition.evaluation.dataset_metrics import proxy_a
from competition.evaluation.dataset_metrics.cmmd import Estimator, cmmd
from competition.evaluation.dataset_metrics.features import Features
from competition.evaluation.dataset_metrics.frechet import Normaliser, frechet_distance
from competition.evaluation.dataset_metrics.kid import kernel_distance, kernel_distance_of_subsets
from competition.evaluation.dataset_metrics.neighbourhoods import neighbourhoods
from competition.evaluation.dataset_metrics.proxy_a import genbench_proxy_a_distance, proxy_a_distance

pytestmark = pytest.mark.usefixtures("small_blocks")

Sets = tuple[np.ndarray, np.ndarray]


def cmmd_unbiased(first: np.ndarray, second: np.ndarray) -> float:
    return cmmd(first, second, estimator=Estimator.UNBIASED)


DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "frechet": lambda first, second: frechet_distance(first, second).value,
    "kid": lambda first, second: kernel_distance(first, second).value,
    "cmmd": cmmd,
    "cmmd unbiased": cmmd_unbiased,
}


@st.composite
def two_sets(draw: st.DrawFn) -> Sets:
    """Of 8 to 30 rows in 2 to 12 dimensions, in float32 or float64, somewhere."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    dimensions = draw(st.integers(2, 12))
    kind = draw(st.sampled_from([np.float32, np.float64]))
    rows = [draw(st.integers(8, 30)) for _ in range(2)]
    shift, width = draw(st.floats(-3, 3)), draw(st.floats(0.2, 3))
    first = generator.normal(size=(rows[0], dimensions))
    second = shift + width * generator.normal(size=(rows[1], dimensions))
    return first.astype(kind), second.astype(kind)


@pytest.mark.parametrize("name", DISTANCES)
@settings(max_examples=25)
@given(two_sets())
def test_symmetric_and_blind_to_order(name: str, sets: Sets) -> None:
    first, second = sets
    value = DISTANCES[name](first, second)
    assert DISTANCES[name](second, first) == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert DISTANCES[name](first[::-1], np.roll(second, 3, axis=0)) == pytest.approx(value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["frechet", "cmmd"])
@settings(max_examples=25)
@given(two_sets())
def test_never_negative_and_zero_of_a_set_with_itself(name: str, sets: Sets) -> None:
    assert DISTANCES[name](sets[0], sets[0][::-1]) == pytest.approx(0, abs=1e-9)
    assert DISTANCES[name](*sets) >= 0


@settings(max_examples=25)
@given(two_sets())
def test_frechet_is_its_formula(sets: Sets) -> None:
    first, second = (each.astype(np.float64) for each in sets)
    covariances = [np.cov(each, rowvar=False) + 1e-9 * np.eye(each.shape[1]) for each in (first, second)]
    root = np.trace(sqrtm(covariances[0] @ covariances[1])).real
    gap = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    expected = gap + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * root
    found = frechet_distance(*sets)
    assert found.value == pytest.approx(expected, abs=2e-3)
    assert found.means == pytest.approx(gap, rel=1e-5)
    assert found.value == pytest.approx(found.means + found.spread)
    assert found.singular == (min(len(first), len(second)) <= first.shape[1])


def test_frechet_of_gaussians_that_are_known() -> None:
    """Of N(0, 1) and N(1, 2²) in three dimensions: 3 (1² + (1 - 2)²)."""
    generator = np.random.default_rng(0)
    found = frechet_distance(generator.normal(size=(40_000, 3)), 1 + 2 * generator.normal(size=(20_000, 3)))
    assert found.value == pytest.approx(6, abs=0.1)
    assert not found.singular


def test_frechet_is_exact_where_covariances_are_singular() -> None:
    """Sets of different subspaces have no common variance: the square root's trace is 0, not a sum of roundings."""
    generator = np.random.default_rng(0)
    first, second = np.zeros((300, 80)), np.zeros((260, 80))
    first[:, :40] = generator.normal(size=(300, 40))
    second[:, 40:] = generator.normal(size=(260, 40))
    turn = np.linalg.qr(generator.normal(size=(80, 80)))[0]
    for rows in (300, 60):  # more rows than dimensions, and fewer
        sets = first[:rows] @ turn, second[:rows] @ turn
        traces = sum(float(np.trace(np.cov(each, rowvar=False))) for each in sets)
        assert frechet_distance(*sets).spread == pytest.approx(traces, abs=1e-10)


@settings(max_examples=25)
@given(two_sets(), st.integers(0, 99))
def test_frechet_does_not_change_with_a_motion_of_the_space(sets: Sets, seed: int) -> None:
    first, second = (each.astype(np.float64) for each in sets)
    rotation = ortho_group.rvs(first.shape[1], random_state=seed)
    value = frechet_distance(first, second).value
    moved = frechet_distance(2 * first @ rotation + 5, 2 * second @ rotation + 5).value
    assert moved == pytest.approx(4 * value, rel=1e-6, abs=1e-6)


def test_genbenchs_normaliser_is_the_first_sets() -> None:
    generator = np.random.default_rng(3)
    first, second = generator.normal(size=(40, 4)), generator.normal(size=(20, 4))
    assert frechet_distance(first, second[[*range(20), *range(20)]], Normaliser.GENBENCH).value == pytest.approx(
        frechet_distance(first, second[[*range(20), *range(20)]]).value
    ), "the same for sets of one size"
    ways = [frechet_distance(*sets, Normaliser.GENBENCH).value for sets in ((first, second), (second, first))]
    assert ways[0] != pytest.approx(ways[1], rel=0.01)


def naive_discrepancy(first: np.ndarray, second: np.ndarray, kernel: Callable, biased: bool) -> float:
    """Over all pairs, one after the other."""

    def mean(left: np.ndarray, right: np.ndarray, same: bool) -> float:
        values = [kernel(x, y) for i, x in enumerate(left) for j, y in enumerate(right) if biased or not same or i != j]
        return math.fsum(values) / len(values)

    return mean(first, first, True) + mean(second, second, True) - 2 * mean(first, second, False)


@settings(max_examples=15)
@given(two_sets())
def test_kid_is_the_unbiased_mean_over_pairs(sets: Sets) -> None:
    first, second = (each.astype(np.float64) for each in sets)
    expected = naive_discrepancy(first, second, lambda x, y: (x @ y / len(x) + 1) ** 3, biased=False)
    assert kernel_distance(*sets).value == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("estimator", Estimator)
@settings(max_examples=15)
@given(two_sets())
def test_cmmd_is_the_mean_over_pairs_of_directions(estimator: Estimator, sets: Sets) -> None:
    first, second = (each.astype(np.float64) for each in sets)
    first, second = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (first, second))
    expected = 1000 * naive_discrepancy(
        first, second, lambda x, y: math.exp(-((x - y) ** 2).sum() / 200), biased=estimator is Estimator.BIASED
    )
    assert cmmd(*sets, estimator=estimator) == pytest.approx(expected, abs=1e-9)
    assert cmmd(3 * sets[0], sets[1], estimator=estimator) == pytest.approx(expected, abs=1e-4), "lengths do not count"


def test_cmmd_resolves_what_the_kernels_ones_would_drown() -> None:
    """Two points a little apart: 1000 * 2 (1 - exp(-d²/200)), which is 1e-11 at d = 1e-6."""
    step = 1e-6
    first, second = np.array([[1.0, 0.0]]), np.array([[math.cos(step), math.sin(step)]])
    assert cmmd(first, second) == pytest.approx(1000 * step**2 / 100, rel=1e-3)


def test_unbiased_estimates_are_zero_on_average() -> None:
    generator = np.random.default_rng(0)
    values = {"kid": [], "cmmd unbiased": [], "cmmd": []}
    for _ in range(200):
        first, second = generator.normal(size=(2, 12, 5))
        for name, found in values.items():
            found.append(DISTANCES[name](first, second))
    for name in ("kid", "cmmd unbiased"):
        error = np.std(values[name]) / math.sqrt(200)
        assert abs(np.mean(values[name])) < 3 * error, name
        assert min(values[name]) < 0 < max(values[name])
    assert np.mean(values["cmmd"]) > 10 * np.std(values["cmmd unbiased"]) / math.sqrt(200)


def test_kid_of_subsets_is_seeded_and_near_that_of_all_rows() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(60, 4)), generator.normal(size=(50, 4)) + 0.5
    found = kernel_distance_of_subsets(first, second, size=20, subsets=60, seed=1)
    assert found == kernel_distance_of_subsets(first, second, size=20, subsets=60, seed=1)
    assert found != kernel_distance_of_subsets(first, second, size=20, subsets=60, seed=2)
    assert found.deviation is not None
    whole = kernel_distance(first, second).value
    assert abs(found.value - whole) < 4 * found.deviation / math.sqrt(60)
    assert kernel_distance_of_subsets(first[:50], second, size=50, subsets=3).value == pytest.approx(
        kernel_distance(first[:50], second).value
    ), "a subset of all rows is the set"


def test_kid_draws_its_two_subsets_apart() -> None:
    """Of a set with itself: the same rows on both sides would be compared with themselves six times as often."""
    rows = np.random.default_rng(0).normal(size=(60, 4))
    found = kernel_distance_of_subsets(rows, rows, size=10, subsets=100)
    assert found.deviation is not None
    assert abs(found.value - kernel_distance(rows, rows).value) < 4 * found.deviation / math.sqrt(100)


def naive_neighbourhoods(first: np.ndarray, second: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """By distances of one row and another."""

    def apart(x: np.ndarray, y: np.ndarray) -> float:
        return float(((x - y) ** 2).sum())

    def radii(rows: np.ndarray) -> list[float]:
        return [sorted(apart(x, y) for j, y in enumerate(rows) if j != i)[k - 1] for i, x in enumerate(rows)]

    balls, others = radii(first), radii(second)
    inside = [[apart(x, y) < radius for x, radius in zip(first, balls, strict=True)] for y in second]
    reached = [any(apart(x, y) < radius for y, radius in zip(second, others, strict=True)) for x in first]
    return (
        float(np.mean([any(row) for row in inside])),
        float(np.mean(reached)),
        sum(map(sum, inside)) / (k * len(second)),
        float(np.mean(np.any(inside, axis=0))),
    )


@settings(max_examples=20)
@given(two_sets(), st.integers(1, 6), st.booleans())
def test_neighbourhoods_are_their_definitions(sets: Sets, k: int, whole: bool) -> None:
    """Whole numbers bring copies and rows on the edge of balls."""
    first, second = (np.round(each).astype(np.float64) if whole else each.astype(np.float64) for each in sets)
    found = neighbourhoods(first, second, k)
    values = (found.precision, found.recall, found.density, found.coverage)
    assert values == pytest.approx(naive_neighbourhoods(first, second, k))
    exchanged = neighbourhoods(second, first, k)
    assert (exchanged.precision, exchanged.recall) == (found.recall, found.precision)
    order = np.random.default_rng(0).permutation(len(second))
    assert neighbourhoods(first[::-1], second[order], k) == found


def test_neighbourhoods_of_the_same_and_of_another_place() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    itself = neighbourhoods(rows, rows, 3)
    assert (itself.precision, itself.recall, itself.coverage) == (1, 1, 1)
    assert itself.density == pytest.approx(1), "each ball has its own row and k - 1 others inside"
    far = neighbourhoods(rows, rows + 100, 3)
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def test_proxy_a_of_the_same_of_apart_and_of_one_distribution() -> None:
    generator = np.random.default_rng(0)
    rows, others = generator.normal(size=(200, 6)), generator.normal(size=(900, 6))
    assert proxy_a_distance(rows, rows).value == 0
    assert proxy_a_distance(rows, others + 10).value == 2
    same = proxy_a_distance(rows, others)
    assert same.value < 0.25
    assert same.rows == 200
    assert proxy_a_distance(rows, others, most_rows=48).rows == 48
    between = proxy_a_distance(rows, others + 0.5).value
    assert same.value < between < 2


@settings(max_examples=10)
@given(two_sets(), st.integers(0, 99))
def test_proxy_a_is_seeded_symmetric_and_does_not_change_with_a_motion(sets: Sets, seed: int) -> None:
    first, second = (each.astype(np.float64) for each in sets)
    found = proxy_a_distance(first, second, seed=seed, splits=2)
    assert found == proxy_a_distance(first, second, seed=seed, splits=2)
    assert 0 <= found.value <= 2
    exchanged = proxy_a_distance(second, first, seed=seed, splits=2)
    assert exchanged.value == pytest.approx(found.value, abs=1e-9)
    moved = proxy_a_distance(8 * first + 4, 8 * second + 4, seed=seed, splits=2)
    assert moved.value == pytest.approx(found.value, abs=1e-9)


def test_proxy_a_of_sets_in_the_order_of_their_classes() -> None:
    """Halves of another class each: GenBench's first half never sees what its second half asks."""
    generator = np.random.default_rng(0)
    up = np.repeat([[0.0, 4.0], [0.0, -4.0]], 40, axis=0)
    first, second = generator.normal(size=(80, 2)) + up, generator.normal(size=(80, 2)) - up
    assert genbench_proxy_a_distance(first, second) > 1.5
    assert proxy_a_distance(first, second).value < 0.5


def test_proxy_a_chooses_the_penalty() -> None:
    """Sides differ by little where both dimensions are one: only a machine of large C takes its direction."""
    generator = np.random.default_rng(0)
    first, second = (generator.normal(size=(200, 1)) @ [[1, 1]] + np.array([0, sign]) for sign in (0.01, -0.01))
    assert proxy_a_distance(first, second, penalties=[1e-5]).value < 0.5
    found = proxy_a_distance(first, second)
    assert found.value == 2
    assert min(found.penalties) > 1e-5


def test_proxy_a_is_not_of_rows_that_trained() -> None:
    """Of more dimensions than rows, a machine is always right about those."""
    first, second = np.random.default_rng(0).normal(size=(2, 40, 300))
    assert proxy_a_distance(first, second, splits=10).value < 0.7


def test_proxy_a_draws_from_all_rows() -> None:
    """The larger set begins as the smaller one does, and is elsewhere for the most part."""
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(40, 2)), generator.normal(size=(440, 2))
    second[40:] += 20
    assert proxy_a_distance(first, second).value > 1.5


def test_a_machine_that_does_not_converge_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_a, "_MOST_STEPS", 1)
    with pytest.raises(EvaluationError, match=r"C = 1e-05 does not converge in 1 steps"):
        proxy_a_distance(*np.random.default_rng(0).normal(size=(2, 40, 5)))


def test_rows_that_are_drawn_have_their_own_numbers_in_a_message() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 4))
    rows[13] = 0
    with pytest.raises(EvaluationError, match="Row 13 of the first set is zero"):
        Features.of(rows, "the first set").directions().take(np.array([17, 13, 2]))
    assert np.array_equal(Features.of(rows, "set").take(np.array([5, 2, 5])), rows[[5, 2, 5]])


@pytest.mark.parametrize(
    "measure",
    [
        kernel_distance,
        cmmd,
        neighbourhoods,
    ],
)
def test_no_matrix_of_all_pairs_is_in_memory(measure: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("competition.evaluation.dataset_metrics.features._MOST_BLOCK_ROWS", 512)
    first, second = np.random.default_rng(0).normal(size=(2, 4000, 4)).astype(np.float32)
    tracemalloc.start()
    measure(first, second)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000 * 4000 * 8 / 5


@pytest.mark.parametrize("measure", [frechet_distance, kernel_distance, cmmd, neighbourhoods, proxy_a_distance])
def test_bad_sets_are_refused(measure: Callable) -> None:
    rows = np.random.default_rng(0).normal(size=(12, 4))
    lacking, endless = rows.copy(), rows.copy()
    lacking[9, 2], endless[8, 1] = np.nan, np.inf
    for words, bad in {
        "needs .* the second set has 0": rows[:0],
        "Row 9 of the second set is not finite": lacking,
        "Row 8 of": endless,
        "Not rows of floats": rows.astype(np.int64),
        "Dimensions differ: the first set has 4, the second set has 3": rows[:, :3],
        "floats: the second set has shape": rows[:, :0],
    }.items():
        with pytest.raises(EvaluationError, match=words):
            measure(rows, bad)
    with pytest.raises(EvaluationError, match="the first set has 0"):
        measure(rows[:0], rows)
    for flat in (rows[0], rows[None]):
        with pytest.raises(EvaluationError, match="Not rows of floats"):
            measure(flat, flat)


def test_one_row_is_too_few_but_for_the_biased_cmmd() -> None:
    rows = np.random.default_rng(0).normal(size=(12, 4))
    for measure in (frechet_distance, kernel_distance, cmmd_unbiased, neighbourhoods, proxy_a_distance):
        with pytest.raises(EvaluationError, match="rows or more; the second set has 1"):
            measure(rows, rows[:1])
    with pytest.raises(EvaluationError, match="needs 2 rows or more; the first set has 1"):
        genbench_proxy_a_distance(rows[:1], rows)
    assert cmmd(rows[:1], rows[:1]) == 0


def test_what_else_is_refused() -> None:
    rows = np.random.default_rng(0).normal(size=(12, 4))
    with pytest.raises(EvaluationError, match="A subset of 20 rows is larger"):
        kernel_distance_of_subsets(rows, rows, size=20)
    for options in ({"size": 1}, {"size": 4, "subsets": 0}):
        with pytest.raises(EvaluationError, match="define no distance"):
            kernel_distance_of_subsets(rows, rows, **options)
    with pytest.raises(EvaluationError, match="needs 13 rows"):
        neighbourhoods(rows, rows, 12)
    with pytest.raises(EvaluationError, match="number 0"):
        neighbourhoods(rows, rows, 0)
    for sigma in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(EvaluationError, match="no width"):
            cmmd(rows, rows, sigma=sigma)
    with pytest.raises(EvaluationError, match="Row 3 of the first set is zero"):
        cmmd(np.where(np.arange(12)[:, None] == 3, 0.0, rows), rows)
    for options in ({"splits": 0}, {"most_rows": 3}, {"penalties": []}, {"penalties": [0.0, 1.0]}):
        with pytest.raises(EvaluationError, match="define no distance"):
            proxy_a_distance(rows, rows, **options)
    wide = Features(np.broadcast_to(np.float32(0), (20_000, 20_000)), "a wide set")
    with pytest.raises(EvaluationError, match="covariance of a wide set does not fit into memory"):
        frechet_distance(wide, wide)
