"""Class-centred recognition (CLER) and its companions: how well a dataset's features alone name the test images.

GenBench's training-free scores, of L2-normalised CLIP features. Its code logs five; which of the two with centres is
the published CLER it does not say, so both have a name of their own here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from competition.errors import EvaluationError
from competition.evaluation import metrics
from competition.evaluation.dataset_metrics.features import (
    Features,
    Floats,
    Integers,
    class_labels,
    require_every_class,
    require_same_dimensions,
    rows_of_width,
    unit_rows,
)

NEIGHBOURS = 10
LOGIT_SCALE = 100.0


class Recogniser(StrEnum):
    """What decides on a test image's class."""

    TEXT = "text"
    NEIGHBOURS = "neighbours"
    NEIGHBOURS_AND_TEXT = "neighbours-text"
    CENTRES = "centres"
    CENTRES_AND_TEXT = "centres-text"


@dataclass(frozen=True, slots=True)
class Recognition:
    """How one recogniser does on the test images.

    Args:
        accuracy: share of 1 of the images whose class it names.
        mean_per_class: mean of the classes' shares, over the classes that occur among the test images.
        recall: of every class, float64 (classes,); NaN without test images.
    """

    accuracy: float
    mean_per_class: float
    recall: Floats


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """Features of images with the classes of the images, numbered from 0.

    Args:
        features: (rows, dimensions).
        labels: int64 (rows,).
    """

    features: Features
    labels: Integers

    @classmethod
    def of(cls, values: NDArray[Any] | Features, labels: Sequence[int] | NDArray[Any], name: str) -> LabelledFeatures:
        """Check both; raises what ``Features.of`` and ``class_labels`` raise."""
        features = Features.of(values, name)
        return cls(features, class_labels(labels, features))


def class_centres(images: LabelledFeatures, classes: int) -> Floats:
    """The normalised mean of the normalised features of each class, float64 (classes, dimensions).

    Raises:
        EvaluationError: a class is empty, or there is a greater label.
        ModelOutputError: a feature, or the mean of a class, is zero.
    """
    labels = class_labels(images.labels, images.features, classes)
    require_every_class(labels, classes, images.features.name)
    sums = np.zeros((classes, images.features.dimensions))
    for start, block in images.features.directions().blocks():
        np.add.at(sums, labels[start : start + len(block)], block)
    return unit_rows(sums, f"the class centres of {images.features.name}")


def recognise(
    train: LabelledFeatures,
    test: LabelledFeatures,
    text: NDArray[Any] | Features | None = None,
    *,
    neighbours: int = NEIGHBOURS,
) -> Mapping[Recogniser, Recognition]:
    """GenBench's scores of a training set on a test set.

    With f a test image's feature, t a class's text feature, all of length 1:
    *text* is the class with the greatest f·t (zero-shot); *neighbours* the most frequent one among the ``neighbours``
    training images with the greatest f·x; *neighbours-text* that of the greatest mean of softmax(100 f·t) and the
    neighbours' shares; *centres* that of the greatest f·m, m the class's centre; *centres-text* that of the greatest
    f·u, u the direction of t + m. Of equal scores the lower class is named, of equal neighbours the earlier.

    Args:
        train: images of every class.
        test: of the same feature space; its classes are among those of ``train`` (or of ``text``).
        text: a feature (classes, dimensions) for each class in order; without it there are only *neighbours* and
            *centres*.
        neighbours: K.

    Returns:
        A recognition for each recogniser that there is.

    Raises:
        EvaluationError: dimensions or classes do not fit, an empty class, more neighbours than training images.
        ModelOutputError: features that are zero or not finite.
    """
    texts = None if text is None else Features.of(text, "the set of text features")
    classes = texts.rows if texts is not None else int(train.labels.max()) + 1
    class_labels(test.labels, test.features, classes)
    right: dict[Recogniser, list[NDArray[np.bool_]]] = {}
    for rows, found in scores_of(train, test.features, classes, texts, neighbours=neighbours):
        for name, scores in found.items():
            right.setdefault(name, []).append(metrics.ranks(scores, test.labels[rows]) == 0)
    return {
        name: _recognition(np.concatenate(right[name]), test.labels, classes) for name in Recogniser if name in right
    }


def scores_of(
    train: LabelledFeatures,
    images: Features,
    classes: int,
    text: NDArray[Any] | Features | None = None,
    *,
    neighbours: int = NEIGHBOURS,
) -> Iterator[tuple[slice, Mapping[Recogniser, Floats]]]:
    """For some images after the others: which, and the scores (images, classes) that each recogniser gives them.

    Scores of *text*, *centres* and *centres-text* are logits: comparable between images after a softmax, which
    GenBench takes. The others are shares.

    Args:
        train: images of every class.
        images: that are recognised.
        classes: how many there are.
        text: see ``recognise``.
        neighbours: K.

    Raises:
        EvaluationError, ModelOutputError: as ``recognise``.
    """
    texts = None if text is None else Features.of(text, "the set of text features")
    for other in (images, texts):
        if other is not None:
            require_same_dimensions(train.features, other)
    if not 1 <= neighbours <= train.features.rows:
        raise EvaluationError(
            f"{neighbours:,} nearest of {train.features.rows:,} training images cannot be found.",
            hint="Ask for at least one neighbour, and at most as many as there are training images.",
        )
    scorer = _Scorer.of(train, class_centres(train, classes), texts, neighbours)
    for start, block in images.directions().blocks(rows_of_width(classes)):
        yield slice(start, start + len(block)), scorer.scores(block)


@dataclass(frozen=True, slots=True)
class _Scorer:
    train: LabelledFeatures
    centres: Floats
    texts: tuple[Floats, Floats] | None
    """Their directions, and those of their sums with the centres."""
    neighbours: int

    @classmethod
    def of(cls, train: LabelledFeatures, centres: Floats, texts: Features | None, neighbours: int) -> _Scorer:
        if texts is None:
            return cls(train, centres, None, neighbours)
        said = texts.directions().every()
        both = unit_rows(said + centres, "the sums of text features and class centres")
        return cls(train, centres, (said, both), neighbours)

    def scores(self, block: Floats) -> dict[Recogniser, Floats]:
        """Scores (rows, classes) of a block of unit rows."""
        shares = self._neighbour_shares(block)
        found = {Recogniser.NEIGHBOURS: shares, Recogniser.CENTRES: block @ self.centres.T}
        if self.texts is not None:
            said, both = self.texts
            logits = LOGIT_SCALE * (block @ said.T)
            found[Recogniser.TEXT] = logits
            found[Recogniser.NEIGHBOURS_AND_TEXT] = (softmax(logits, axis=1) + shares) / 2
            found[Recogniser.CENTRES_AND_TEXT] = block @ both.T
        return found

    def _neighbour_shares(self, block: Floats) -> Floats:
        """Share of each class among the nearest training images, (rows, classes)."""
        nearest = _nearest(block, self.train.features, self.neighbours)
        shares = np.zeros((len(block), len(self.centres)))
        rows = np.arange(len(block))
        for column in nearest.T:
            shares[rows, self.train.labels[column]] += 1
        return shares / self.neighbours


def _nearest(queries: Floats, features: Features, count: int) -> Integers:
    """Numbers (queries, count) of the rows with the greatest cosines, best first; of equal ones the earlier.

    Cosines are of float32, as in the original: here nothing is summed that rounding could accumulate in.
    """
    asked = queries.astype(np.float32)
    cosines = np.zeros((len(asked), 0), dtype=np.float32)
    numbers = np.zeros((len(asked), 0), dtype=np.int64)
    for start, block in features.directions().blocks():
        found = asked @ block.astype(np.float32).T
        columns = _largest(found, min(count, len(block)))
        cosines = np.concatenate([cosines, np.take_along_axis(found, columns, axis=1)], axis=1)
        numbers = np.concatenate([numbers, columns + start], axis=1)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        cosines, numbers = np.take_along_axis(cosines, order, axis=1), np.take_along_axis(numbers, order, axis=1)
    return numbers


def _largest(values: NDArray[np.float32], count: int) -> Integers:
    """Columns (rows, count) of each row's largest values in ascending order; of equal values the first columns."""
    chosen = np.argpartition(-values, count - 1, axis=1)[:, :count]
    least = np.take_along_axis(values, chosen, axis=1).min(axis=1, keepdims=True)
    for row in np.flatnonzero(np.count_nonzero(values >= least, axis=1) > count):
        chosen[row] = np.argsort(-values[row], kind="stable")[:count]
    ordered: Integers = np.sort(chosen, axis=1).astype(np.int64)
    return ordered


def _recognition(right: NDArray[np.bool_], labels: Integers, classes: int) -> Recognition:
    images = np.bincount(labels, minlength=classes)
    named = np.bincount(labels, weights=right, minlength=classes)
    recall = np.full(classes, np.nan)
    np.divide(named, images, out=recall, where=images > 0)
    outcomes = right.astype(np.float64)
    return Recognition(float(outcomes.mean()), metrics.mean_of_means(metrics.per_class(outcomes, labels)), recall)
