"""Scores of one dataset (CLER, CLIP score, CLIP-IQA, Inception score) are what their definitions say, row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competition.errors import EvaluationError, ModelOutputError
from competition.evaluation.dataset_metrics.cler import Recogniser, class_centres, recognise
from competition.evaluation.dataset_metrics.clip_iqa import PROMPT_PAIRS, clip_iqa
from competition.evaluation.dataset_metrics.clip_score import best_of_each_class, clip_s, clip_scores
from competition.evaluation.dataset_metrics.features import Features, class_labels
from competition.evaluation.dataset_metrics.inception_score import Answers, inception_score
from competition.evaluation.features import LabelledFeatures

pytestmark = pytest.mark.usefixtures("small_blocks")

CLASSES = 4
Case = tuple[LabelledFeatures, LabelledFeatures, np.ndarray]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def case(seed: int, train: int = 30, test: int = 20) -> Case:
    """Images of four classes, some harder than others, and a text for each class."""
    generator = np.random.default_rng(seed)
    means = generator.normal(size=(CLASSES, 6))
    known = np.concatenate([np.arange(CLASSES), generator.integers(0, CLASSES, train - CLASSES)])
    asked = generator.integers(0, CLASSES, test)
    return (
        LabelledFeatures(means[known] + generator.normal(size=(train, 6)), known, "train"),
        LabelledFeatures(means[asked] + generator.normal(size=(test, 6)), asked, "test"),
        means + generator.normal(size=(CLASSES, 6)),
    )


def naive_answers(known: LabelledFeatures, f: np.ndarray, texts: np.ndarray, k: int) -> dict[Recogniser, int]:
    """Of one test image."""
    f, t, rows = unit(f), unit(texts), unit(known.features)
    nearest = sorted(range(len(rows)), key=lambda row: -(f @ rows[row]))[:k]
    shares = np.array([sum(known.labels[row] == label for row in nearest) / k for label in range(CLASSES)])
    powers = np.array([math.exp(100 * (f @ each)) for each in t])
    centres = [unit(rows[known.labels == label].mean(axis=0)) for label in range(CLASSES)]
    scores = {
        Recogniser.TEXT: powers,
        Recogniser.NEIGHBOURS: shares,
        Recogniser.NEIGHBOURS_AND_TEXT: (powers / powers.sum() + shares) / 2,
        Recogniser.CENTRES: [f @ m for m in centres],
        Recogniser.CENTRES_AND_TEXT: [f @ unit(each + m) for each, m in zip(t, centres, strict=True)],
    }
    return {name: int(np.argmax(each)) for name, each in scores.items()}


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_recognition_is_its_definition(seed: int, k: int) -> None:
    known, asked, texts = case(seed)
    answers = [naive_answers(known, f, texts, k) for f in asked.features]
    for name, found in recognise(known, asked, texts, neighbours=k).items():
        right = np.array([answer[name] == label for answer, label in zip(answers, asked.labels, strict=True)])
        shares = [right[asked.labels == label].mean() for label in np.unique(asked.labels)]
        assert found.accuracy == pytest.approx(right.mean()), name
        assert found.mean_per_class == pytest.approx(np.mean(shares)), name
        assert found.recall[np.unique(asked.labels)] == pytest.approx(np.array(shares)), name
        absent = np.setdiff1d(np.arange(CLASSES), asked.labels)
        assert np.isnan(found.recall[absent]).all()


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_recognition_does_not_change_with_order_length_or_rotation(seed: int) -> None:
    known, asked, texts = case(seed)
    generator = np.random.default_rng(seed)
    found = recognise(known, asked, texts, neighbours=5)
    order, turn = generator.permutation(30), np.linalg.qr(generator.normal(size=(6, 6)))[0]
    lengths = generator.uniform(0.5, 2, size=(30, 1))
    changed = LabelledFeatures((lengths * known.features)[order] @ turn, known.labels[order], "train")
    turned = LabelledFeatures(asked.features @ turn, asked.labels, "test")
    again = recognise(changed, turned, texts @ turn, neighbours=5)
    assert {name: each.accuracy for name, each in again.items()} == {
        name: each.accuracy for name, each in found.items()
    }


def test_without_text_there_are_centres_and_neighbours() -> None:
    known, asked, texts = case(0)
    found, all_of_them = recognise(known, asked), recognise(known, asked, texts)
    assert list(found) == [Recogniser.NEIGHBOURS, Recogniser.CENTRES]
    for name, each in found.items():
        assert each.accuracy == all_of_them[name].accuracy


def test_equal_neighbours_are_taken_in_their_order() -> None:
    """Copies of one image, in several blocks, whose classes differ: the first ones vote."""
    row = np.array([[0.3, 0.1, 0.9]])
    labels = np.array([2, 2, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    known = LabelledFeatures(np.repeat(row, len(labels), axis=0), labels, "train")
    for k, named in {1: 2, 2: 2, 5: 1, 18: 0}.items():
        asked = LabelledFeatures(row, np.array([named]), "test")
        assert recognise(known, asked, neighbours=k)[Recogniser.NEIGHBOURS].accuracy == 1, k


def test_class_centres() -> None:
    known, _, _ = case(1)
    rows = unit(known.features)
    expected = unit(np.stack([rows[known.labels == label].mean(axis=0) for label in range(CLASSES)]))
    assert class_centres(known, CLASSES) == pytest.approx(expected, abs=1e-12)


def test_what_recognition_refuses() -> None:
    known, asked, texts = case(0)
    rows = known.features
    with pytest.raises(EvaluationError, match=r"Class 2 has no row in the train .of 4 classes 1 are empty"):
        recognise(LabelledFeatures(rows, np.where(known.labels == 2, 1, known.labels), "train"), asked, texts)
    with pytest.raises(EvaluationError, match=r"Class 4 has no row in the train .of 5"):
        recognise(known, asked, np.vstack([texts, texts[:1]]))
    with pytest.raises(EvaluationError, match="empty"):
        recognise(LabelledFeatures(rows, np.where(known.labels == 3, 2**60, known.labels), "train"), asked)
    with pytest.raises(EvaluationError, match="The train has an image of class 3, which is not one of 3"):
        recognise(known, LabelledFeatures(asked.features, asked.labels % 3, "test"), texts[:3])
    with pytest.raises(EvaluationError, match="The test has an image of class 12, which is not one of 4"):
        recognise(known, LabelledFeatures(asked.features, asked.labels * 0 + 12, "test"))
    with pytest.raises(EvaluationError, match="Dimensions differ: the train has 6, the set of text features has 5"):
        recognise(known, asked, texts[:, :5])
    for k in (0, 31):
        with pytest.raises(EvaluationError, match="nearest of 30 training images"):
            recognise(known, asked, neighbours=k)
    with pytest.raises(ModelOutputError, match="Row 1 of the set of text features is zero"):
        recognise(known, asked, texts * [[1], [0], [1], [1]])
    with pytest.raises(ModelOutputError, match="Row 0 of the class centres of the pair is zero"):
        class_centres(LabelledFeatures(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0, 0]), "pair"), 1)


@pytest.mark.parametrize(
    "labels", [[0, 1], [0.0] * 3, [[0], [1], [2]], [0, -1, 2], np.array([0, 1, 2**64 - 1], np.uint64), [True] * 3]
)
def test_labels_that_are_none(labels: list) -> None:
    with pytest.raises(EvaluationError, match="labels of images"):
        class_labels(labels, Features.of(np.ones((3, 2)), "images"))
    with pytest.raises(EvaluationError, match="The images "):
        class_centres(LabelledFeatures(np.ones((3, 2)), np.asarray(labels), "images"), 3)


def test_images_of_several_classes_have_no_centres() -> None:
    with pytest.raises(EvaluationError, match="Images of the set show several classes"):
        class_centres(LabelledFeatures(np.ones((3, 2)), np.eye(3, dtype=np.int64), "set"), 3)


def test_lengths_that_float32_cannot_square_are_no_obstacle() -> None:
    known, asked, texts = case(3)
    large = LabelledFeatures(known.features.astype(np.float32) * np.float32(1e30), known.labels, "train")
    found, expected = recognise(large, asked, texts, neighbours=5), recognise(known, asked, texts, neighbours=5)
    assert {name: each.accuracy for name, each in found.items()} == {
        name: each.accuracy for name, each in expected.items()
    }


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_clip_score_is_the_cosine_with_the_images_own_text(seed: int) -> None:
    known, _, texts = case(seed)
    scores = clip_scores(known.features, texts, known.labels)
    for image, label, score in zip(known.features, known.labels, scores, strict=True):
        text = texts[label]
        cosine = image @ text / math.sqrt((image @ image) * (text @ text))
        assert score == pytest.approx(100 * cosine, abs=1e-9)
    assert clip_s(scores) == pytest.approx(np.array([2.5 * max(0, score / 100) for score in scores]))
    assert (clip_s(scores) >= 0).all()
    assert clip_scores(texts, 5 * texts, range(CLASSES)) == pytest.approx(np.full(CLASSES, 100.0))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40), st.integers(1, 6))
def test_the_best_of_each_class(pairs: list[tuple[int, int]], keep: int) -> None:
    pairs = [*((label, 0) for label in range(4)), *pairs]
    labels, scores = (np.array(each) for each in zip(*pairs, strict=True))
    found = best_of_each_class(scores.astype(np.float32), labels, 4, keep)
    for label, rows in enumerate(found):
        mine = [row for row in range(len(pairs)) if labels[row] == label]
        assert rows.tolist() == sorted(mine, key=lambda row: (-scores[row], row))[:keep]


def test_what_the_clip_score_refuses() -> None:
    images, texts = np.ones((3, 2)), np.ones((2, 2))
    with pytest.raises(EvaluationError, match="class 2, which is not from 0 to 1"):
        clip_scores(images, texts, [0, 1, 2])
    with pytest.raises(EvaluationError, match="Dimensions differ"):
        clip_scores(images, np.ones((2, 3)), [0, 1, 1])
    with pytest.raises(ModelOutputError, match="Row 2 of the set of image features is zero"):
        clip_scores(images * [[1], [1], [0]], texts, [0, 1, 1])
    with pytest.raises(EvaluationError, match="Class 1 has no row"):
        best_of_each_class(np.ones(3), np.array([0, 0, 2]), 3, 1)
    with pytest.raises(EvaluationError, match=r"Class 1 has no row in the list of scores .of 6 classes 3 are empty"):
        best_of_each_class(np.ones(3), np.array([0, 2, 4]), 6, 1)
    with pytest.raises(EvaluationError, match="best 0 images"):
        best_of_each_class(np.ones(1), np.array([0]), 1, 0)
    with pytest.raises(ModelOutputError, match="Row 1 of the list of scores is not finite"):
        best_of_each_class(np.array([1.0, np.nan]), np.array([0, 0]), 1, 1)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([1.0, 100.0]))
def test_clip_iqa_is_the_positive_texts_share(seed: int, scale: float) -> None:
    known, _, texts = case(seed)
    images, positive, negative = known.features, texts[:2], texts[2:]
    found = clip_iqa(images, positive, negative, scale=scale)
    assert found.shape == (30, 2)
    for row, image in enumerate(images):
        for pair in range(2):
            powers = [math.exp(scale * unit(image) @ unit(each[pair])) for each in (positive, negative)]
            assert found[row, pair] == pytest.approx(powers[0] / sum(powers), abs=1e-9)
    assert found + clip_iqa(images, negative, positive, scale=scale) == pytest.approx(np.ones((30, 2)))
    assert clip_iqa(images, positive, positive) == pytest.approx(np.full((30, 2), 0.5))


def test_prompt_pairs_are_opposites() -> None:
    texts = [text for pair in PROMPT_PAIRS.values() for text in pair]
    assert len(PROMPT_PAIRS) == 16
    assert len(set(texts)) == 32
    assert all(text.endswith(" photo.") for text in texts)


def test_what_clip_iqa_refuses() -> None:
    with pytest.raises(EvaluationError, match=r"Texts do not pair: the list of positive texts has 2, .* has 1"):
        clip_iqa(np.ones((3, 2)), np.ones((2, 2)), np.ones((1, 2)))
    with pytest.raises(EvaluationError, match="Dimensions differ"):
        clip_iqa(np.ones((3, 2)), np.ones((2, 2)), np.ones((2, 3)))
    for scale in (0.0, math.nan, math.inf):
        with pytest.raises(EvaluationError, match="cannot be scaled"):
            clip_iqa(np.ones((3, 2)), np.ones((2, 2)), np.ones((2, 2)), scale=scale)


def naive_inception_score(logits: np.ndarray) -> float:
    """exp of the mean divergence, of one split."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    marginal = shares.mean(axis=0)
    return math.exp(np.mean([sum(p * math.log(p / q) for p, q in zip(row, marginal, strict=True)) for row in shares]))


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_inception_score_is_its_definition(seed: int, splits: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(25, 4)) * 3
    whole = inception_score(logits, splits=1, seed=seed)
    assert whole.mean == pytest.approx(naive_inception_score(logits))
    assert whole.deviation == 0
    assert inception_score(logits[::-1] + 7, splits=1).mean == pytest.approx(whole.mean)
    found = inception_score(logits, splits=splits, seed=seed)
    assert len(found.splits) == splits
    assert (found.mean, found.deviation) == pytest.approx((found.splits.mean(), found.splits.std()))
    assert ((found.splits >= 1) & (found.splits <= 4)).all()
    again = inception_score(logits, splits=splits, seed=seed)
    assert np.array_equal(again.splits, found.splits)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given_shares = inception_score(shares, splits=splits, seed=seed, kind=Answers.PROBABILITIES)
    assert given_shares.splits == pytest.approx(found.splits)


def test_inception_score_of_sure_and_of_unsure_answers() -> None:
    sure = np.eye(5)[np.arange(100) % 5]
    assert inception_score(sure, splits=1, kind=Answers.PROBABILITIES).mean == pytest.approx(5)
    assert inception_score(1000 * sure, splits=1).mean == pytest.approx(5)
    assert inception_score(np.ones((100, 5)), splits=10).mean == pytest.approx(1)
    assert inception_score(sure[[0] * 50], splits=5, kind=Answers.PROBABILITIES).mean == pytest.approx(1)


def test_images_in_the_order_of_their_classes_are_dealt_to_all_splits() -> None:
    """In their order, each split would have one class and a score of 1."""
    ordered = 50 * np.eye(5)[np.repeat(np.arange(5), 40)]
    found = inception_score(ordered, splits=5)
    assert found.splits.min() > 4
    assert inception_score(ordered, splits=5, seed=1).splits.tolist() != found.splits.tolist()


def test_every_image_counts() -> None:
    """Seven images in three splits: sizes 3, 2, 2; each image alone is a split of score 1."""
    assert inception_score(np.eye(7) * 50, splits=7).splits == pytest.approx(np.ones(7))
    found = np.sort(inception_score(np.eye(7) * 50, splits=3).splits)
    assert found == pytest.approx(np.array([2, 2, 3]))


def test_what_the_inception_score_refuses() -> None:
    logits = np.ones((4, 3))
    with pytest.raises(EvaluationError, match="5 splits are more than the rows of the list of answers, 4"):
        inception_score(logits, splits=5)
    with pytest.raises(EvaluationError, match="0 splits"):
        inception_score(logits, splits=0)
    with pytest.raises(EvaluationError, match="needs 1 row or more"):
        inception_score(logits[:0])
    with pytest.raises(ModelOutputError, match="Row 2"):
        inception_score(np.where(np.arange(4)[:, None] == 2, np.nan, logits), splits=1)
    shares = np.full((20, 3), 1 / 3)
    for wrong in ([0.5, 0.6, 0.5], [-0.5, 1, 0.5]):
        shares[17] = wrong
        with pytest.raises(EvaluationError, match="Row 17 of the list of answers is no probability"):
            inception_score(shares, splits=1, kind=Answers.PROBABILITIES)
