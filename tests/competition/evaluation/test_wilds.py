"""WILDS's metrics equal scikit-learn's and plain loops; both FMoW variants; F1's units are its influence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from competition.errors import EmptySetError, EvaluationError, LabelRangeError, ModelOutputError
from competition.evaluation import classification, wilds
from competition.statistics import bootstrap_replicates


def made(seed: int, samples: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, and labels that need not cover all classes."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, samples)
    scores = generator.integers(0, 4, (samples, classes)).astype(np.float32)
    scores[np.arange(samples), labels] += generator.integers(0, 3, samples)
    return scores, labels


cases = st.tuples(st.integers(0, 10**6), st.integers(1, 60), st.integers(2, 9))


@given(cases)
def test_accuracies_equal_a_count_by_hand(case: tuple[int, int, int]) -> None:
    scores, labels = made(*case)
    outcome = classification.score(scores, labels)
    order = np.argsort(-scores, axis=1, kind="stable")
    assert outcome.metrics["acc1"] == pytest.approx(np.mean(order[:, 0] == labels))
    assert np.array_equal(classification.first_choices(scores, len(labels)), order[:, 0])
    if case[2] >= 5:
        assert outcome.metrics["acc5"] == pytest.approx((order[:, :5] == labels[:, None]).any(axis=1).mean())
    else:
        assert outcome.metrics["acc5"] is None


@given(cases)
def test_iwildcam_equals_scikit_learn(case: tuple[int, int, int]) -> None:
    scores, labels = made(*case)
    outcome = wilds.iwildcam(scores, labels)
    answers, present = scores.argmax(axis=1), np.unique(labels)
    f1 = f1_score(labels, answers, average="macro", labels=present, zero_division=0)
    recall = recall_score(labels, answers, average="macro", labels=present, zero_division=0)
    assert outcome.metrics["F1-macro_all"] == pytest.approx(f1, abs=1e-12)
    assert outcome.metrics["recall-macro_all"] == pytest.approx(recall, abs=1e-12)
    assert outcome.metrics["acc_avg"] == outcome.metrics["acc1"]


def test_f1s_units_are_the_derivative_of_weighing_a_sample() -> None:
    scores, labels = made(3, 200, 5)
    answers = scores.argmax(axis=1)
    units = wilds.macro_f1_units(answers, labels)
    f1 = f1_score(labels, answers, average="macro")
    for sample in range(0, 200, 17):
        weights = np.full(200, 1 - 1e-6)
        weights[sample] += 200 * 1e-6
        moved = f1_score(labels, answers, average="macro", sample_weight=weights)
        assert (moved - f1) / 1e-6 == pytest.approx(units[sample] - f1, abs=1e-3)


def test_the_interval_of_f1_is_about_that_of_computing_it_anew() -> None:
    scores, labels = made(4, 800, 6)
    answers = scores.argmax(axis=1)
    generator = np.random.default_rng(0)
    anew = []
    for _ in range(300):
        drawn = generator.integers(0, 800, 800)
        anew.append(f1_score(labels[drawn], answers[drawn], average="macro"))
    linear = bootstrap_replicates([wilds.macro_f1_units(answers, labels)], seed_text="s")
    assert linear.std() == pytest.approx(np.std(anew), rel=0.15)
    assert linear.mean() == pytest.approx(np.mean(anew), abs=0.003)


@given(cases)
def test_camelyon_is_the_accuracy_of_every_slide(case: tuple[int, int, int]) -> None:
    scores, labels = made(*case)
    slides = np.random.default_rng(case[0]).integers(0, 4, len(labels)) * 3
    outcome = wilds.camelyon17(scores, labels, slides)
    right = scores.argmax(axis=1) == labels
    means = {slide: right[slides == slide].mean() for slide in np.unique(slides)}
    for slide, mean in means.items():
        assert outcome.metrics[f"acc_slide:{slide}"] == pytest.approx(mean)
    assert outcome.metrics["acc_wg"] == pytest.approx(min(means.values()))
    assert outcome.metrics["acc_avg"] == pytest.approx(right.mean())
    assert sum(name.startswith("acc_slide") for name in outcome.metrics) == len(means)


def fmow_case() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Every region right half the time, Africa in a quarter of cases; the one image of Other is wrong."""
    regions = np.array([0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4, 5])
    labels = np.zeros(13, dtype=int)
    right = np.array([1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0], dtype=bool)
    scores = np.zeros((13, 3))
    scores[np.arange(13), np.where(right, 0, 2)] = 1.0
    return scores, labels, regions, np.array([0] * 6 + [14] * 7)


def test_fmows_worst_region_comes_with_and_without_other() -> None:
    outcome = wilds.fmow(*fmow_case())
    assert outcome.metrics["acc_worst_region"] == 0.0
    assert outcome.metrics["acc_worst_region_without_other"] == 0.25
    assert (outcome.metrics["acc_region:Africa"], outcome.metrics["acc_region:Other"]) == (0.25, 0.0)
    assert outcome.metrics["acc_worst_year"] == pytest.approx(2 / 7)
    assert outcome.metrics["acc_year:0"] == 0.5
    assert [len(outcome.components[f"acc_worst_region{part}"][0]) for part in ("", "_without_other")] == [1, 4]
    assert outcome.units == {
        "acc_worst_year": "year:14",
        "acc_worst_region": "region:Other",
        "acc_worst_region_without_other": "region:Africa",
    }
    scores, labels, regions, years = (part[:-1] for part in fmow_case())
    without = wilds.fmow(scores, labels, regions, years).metrics
    assert without["acc_worst_region"] == without["acc_worst_region_without_other"] == 0.25


def test_every_metric_is_the_mean_of_its_components() -> None:
    outcomes = (wilds.fmow(*fmow_case()), wilds.iwildcam(*made(1, 40, 7)), wilds.camelyon17(*made(2, 9, 2), [1] * 9))
    for outcome in outcomes:
        assert outcome.samples in {13, 40, 9}
        for metric, parts in outcome.components.items():
            assert outcome.metrics[metric] == pytest.approx(np.mean([part.mean() for part in parts]))
        for metric in outcome.proportions:
            (units,) = outcome.components[metric]
            assert set(units.tolist()) <= {0.0, 1.0}


def test_bad_input_raises_its_own_error() -> None:
    scores, labels, regions, years = fmow_case()
    with pytest.raises(EmptySetError, match="'Oceania'"):
        wilds.fmow(scores, labels, np.where(regions == 4, 0, regions), years)
    with pytest.raises(LabelRangeError, match="region of sample 12 is 6"):
        wilds.fmow(scores, labels, np.where(regions == 5, 6, regions), years)
    with pytest.raises(LabelRangeError, match="year of sample 0 is -1"):
        wilds.fmow(scores, labels, regions, years - 1)
    with pytest.raises(EvaluationError, match="12 values of year for 13 samples"):
        wilds.fmow(scores, labels, regions, years[1:])
    broken = scores.copy()
    broken[4, 1] = np.nan
    for protocol in (
        wilds.iwildcam,
        classification.score,
        lambda s, y: wilds.camelyon17(s, y, regions),
        lambda s, y: wilds.fmow(s, y, regions, years),
    ):
        with pytest.raises(ModelOutputError, match="1 of 13 samples are not finite, first of sample 4"):
            protocol(broken, labels)
        with pytest.raises(LabelRangeError, match="sample 0 is 3"):
            protocol(scores, labels + 3)
        with pytest.raises(EmptySetError):
            protocol(np.zeros((0, 3)), np.zeros(0, dtype=int))
        with pytest.raises(EvaluationError, match="shape"):
            protocol(scores[1:], labels)
        with pytest.raises(EvaluationError):
            protocol(scores[:, 0], labels)
