"""Robustness sets: masks, maps and means equal plain loops, scikit-learn's average precision, and AlexNet's own mCE."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from competition.errors import EmptySetError, EvaluationError, LabelRangeError, ModelOutputError
from competition.evaluation import robustness
from competition.evaluation.robustness import ALEXNET_ERRORS, SEVERITIES

WNIDS = [f"n{number:08d}" for number in range(40)]


def test_a_masked_answer_is_the_best_of_the_sets_classes() -> None:
    generator = np.random.default_rng(0)
    subset = robustness.class_subset(WNIDS, WNIDS[5::6])
    assert subset.tolist() == list(range(5, 40, 6))
    logits, labels = generator.normal(size=(300, 40)), generator.integers(0, 6, 300)
    outcome = robustness.masked(logits, labels, subset)
    right = [max(range(6), key=lambda c: row[5 + 6 * c]) == y for row, y in zip(logits, labels, strict=True)]
    assert outcome.metrics["acc1"] == pytest.approx(np.mean(right))
    unmasked = np.mean(subset[labels] == logits.argmax(axis=1))
    assert outcome.metrics["acc1"] > unmasked


def test_the_sets_order_decides_which_label_is_which() -> None:
    logits = np.eye(40)[[7, 3]]
    assert robustness.masked(logits, [0, 1], robustness.class_subset(WNIDS, [WNIDS[7], WNIDS[3]])).metrics["acc1"] == 1
    assert robustness.masked(logits, [1, 0], robustness.class_subset(WNIDS, [WNIDS[3], WNIDS[7]])).metrics["acc1"] == 1


def test_bad_masks_raise_their_own_error() -> None:
    with pytest.raises(LabelRangeError, match=r"lacks 2 classes .* 'x'"):
        robustness.class_subset(WNIDS, ["x", WNIDS[0], "y"])
    with pytest.raises(LabelRangeError, match="model has a class twice"):
        robustness.class_subset([*WNIDS, WNIDS[0]], WNIDS)
    with pytest.raises(LabelRangeError, match="evaluation set has a class twice"):
        robustness.class_subset(WNIDS, [WNIDS[0]] * 2)
    with pytest.raises(EmptySetError):
        robustness.class_subset(WNIDS, [])
    logits = np.zeros((2, 40))
    with pytest.raises(LabelRangeError, match="class of the set of sample 0 is 40"):
        robustness.masked(logits, [0, 0], [40])
    with pytest.raises(LabelRangeError, match="label of sample 1 is 1"):
        robustness.masked(logits, [0, 1], [3])
    with pytest.raises(ModelOutputError):  # also where the broken score is masked
        robustness.masked(np.where(np.arange(40) == 9, np.nan, logits), [0, 0], [3])
    with pytest.raises(EmptySetError):
        robustness.masked(np.zeros((0, 40)), np.zeros(0, dtype=int), [3])


FILES = {
    "folders": ["pen", "air_freshener", "bench", "chair"],
    "label_of_folder": {"pen": "Pen", "air_freshener": "Air freshener", "bench": "Bench", "chair": "Chair"},
    "imagenet_of_label": {"Pen": "ballpoint, ballpen; quill", "Bench": "park bench", "Chair": "rocking chair; throne"},
    "imagenet_labels": ["quill", "dog", "throne", "park bench", "ballpoint, ballpen", "rocking chair", "cat"],
}


def test_objectnets_mapping_is_read_from_its_files() -> None:
    shared, mapping = robustness.objectnet_mapping(**FILES)  # type: ignore[arg-type]
    assert shared == ("bench", "chair", "pen")
    assert mapping.tolist() == [2, -1, 1, 0, 2, 1, -1]


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"folders": ["desk"]}, LabelRangeError, "'desk'"),
        ({"folders": ["air_freshener"]}, EmptySetError, "no folder"),
        ({"imagenet_of_label": {"Pen": "pencil"}}, LabelRangeError, "'pencil', which not just one output is"),
        ({"imagenet_labels": [*FILES["imagenet_labels"], "quill"]}, LabelRangeError, "'quill', which not just one"),
        ({"imagenet_of_label": {"Pen": "quill", "Bench": "quill"}}, LabelRangeError, "two classes"),
    ],
)
def test_objectnets_files_must_fit_together(changed: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        robustness.objectnet_mapping(**(FILES | changed))


@given(st.integers(0, 10**6), st.integers(1, 50))
def test_objectnet_equals_a_loop_over_images(seed: int, samples: int) -> None:
    generator = np.random.default_rng(seed)
    mapping = np.array([2, -1, 1, 0, 2, 1, -1])
    logits, labels = generator.normal(size=(samples, 7)), generator.integers(0, 3, samples)
    outcome = robustness.objectnet(logits, labels, mapping)
    plain, known = [], []
    for row, label in zip(logits, labels, strict=True):
        plain.append(mapping[row.argmax()] == label)
        allowed = [output for output in range(7) if mapping[output] >= 0]
        known.append(mapping[max(allowed, key=lambda output: row[output])] == label)
    assert outcome.metrics == pytest.approx({"acc1": np.mean(plain), "acc1_known": np.mean(known)})


def test_bad_objectnet_raises_its_own_error() -> None:
    logits = np.zeros((2, 3))
    with pytest.raises(LabelRangeError, match="class 1 is none"):
        robustness.objectnet(logits, [0, 0], [0, 2, -1])
    with pytest.raises(LabelRangeError, match="not negative"):
        robustness.objectnet(logits, [0, 0], [-1, -1, -1])
    with pytest.raises(LabelRangeError, match="sample 1 is 1"):
        robustness.objectnet(logits, [0, 1], [0, -1, -1])
    with pytest.raises(EvaluationError, match="shape"):
        robustness.objectnet(logits, [0, 0], [0, -1])
    with pytest.raises(ModelOutputError):
        robustness.objectnet(np.full((2, 3), np.nan), [0, 0], [0, 1, -1])


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 40))
def test_the_area_for_imagenet_o_is_scikit_learns_average_precision(seed: int, known: int, unknown: int) -> None:
    """Scores of whole numbers, so that many are equal."""
    generator = np.random.default_rng(seed)
    inside, outside = generator.integers(0, 3, (known, 4)), generator.integers(0, 2, (unknown, 4))
    inside, outside = np.sort(inside), np.sort(outside)  # a sum's last bit depends on the order
    logits = np.concatenate([inside, outside]).astype(float)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    anomaly = np.round(-shares.max(axis=1), 12)  # equal up to how a quotient was rounded
    expected = average_precision_score([0] * known + [1] * unknown, anomaly)
    outcome = robustness.imagenet_o(inside, outside)
    assert outcome.metrics["aupr"] == pytest.approx(expected, abs=1e-9)
    assert len(outcome.components["aupr"][0]) == unknown


def test_large_logits_are_no_trouble_and_empty_sides_are() -> None:
    assert robustness.imagenet_o(np.array([[1e4, 0.0]]), np.array([[1e4, 1e4]])).metrics["aupr"] == 1.0
    with pytest.raises(EmptySetError):
        robustness.imagenet_o(np.zeros((0, 2)), np.zeros((1, 2)))
    with pytest.raises(EmptySetError):
        robustness.imagenet_o(np.zeros((1, 2)), np.zeros((0, 2)))
    with pytest.raises(ModelOutputError):
        robustness.imagenet_o(np.zeros((1, 2)), np.full((1, 2), np.nan))
    with pytest.raises(EvaluationError, match="same classes"):
        robustness.imagenet_o(np.zeros((1, 2)), np.zeros((1, 3)))


def corrupted(seed: int, images: int) -> dict[tuple[str, int], np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        (name, severity): generator.random(images) < 1 - severity / 6
        for name in ALEXNET_ERRORS
        for severity in SEVERITIES
    }


def test_imagenet_c_is_the_mean_over_75_and_the_mean_corruption_error() -> None:
    right = corrupted(0, 50)
    outcome = robustness.imagenet_c(right)
    assert outcome.metrics["acc1"] == pytest.approx(np.mean([row.mean() for row in right.values()]))
    ratios = []
    for name, alexnet in ALEXNET_ERRORS.items():
        error = np.mean([1 - right[name, severity].mean() for severity in SEVERITIES])
        assert outcome.metrics[f"acc1_{name}"] == pytest.approx(1 - error)
        ratios.append(error / alexnet)
    assert outcome.metrics["mce"] == pytest.approx(np.mean(ratios))
    (units,) = outcome.components["acc1"]
    assert units[3] == pytest.approx(np.mean([row[3] for row in right.values()]))
    assert outcome.samples == 50


def test_alexnets_own_mean_corruption_error_is_one() -> None:
    """Its published errors, as shares of a million images (only the counts matter)."""
    images = 10**5
    right = {
        (name, severity): np.arange(images) >= round(error * images)
        for name, error in ALEXNET_ERRORS.items()
        for severity in SEVERITIES
    }
    assert robustness.imagenet_c(right).metrics["mce"] == pytest.approx(1.0, abs=1e-5)


def test_an_incomplete_imagenet_c_raises_its_own_error() -> None:
    right = corrupted(1, 4)
    lacking = {key: row for key, row in right.items() if key != ("fog", 3)}
    with pytest.raises(EvaluationError, match="lacks 'fog' at severity 3"):
        robustness.imagenet_c(lacking)
    with pytest.raises(EvaluationError, match="'spatter' at severity 1"):
        robustness.imagenet_c(right | {("spatter", 1): np.ones(4)})
    with pytest.raises(EvaluationError, match="same images"):
        robustness.imagenet_c(right | {("fog", 3): np.ones(3)})
    with pytest.raises(EvaluationError, match="right and wrong"):
        robustness.imagenet_c(right | {("fog", 3): np.array([0.5, 1, 0, 1])})
    with pytest.raises(EmptySetError):
        robustness.imagenet_c(corrupted(1, 0))
