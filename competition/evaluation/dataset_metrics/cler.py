"""Class-centred recognition (CLER) and its companions: how well a dataset's features alone name the test images.

GenBench's training-free scores, of L2-normalised CLIP features. Its code logs five; which of the two with centres is
the published CLER it does not say, so both have a name of their own here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from competition.errors import EvaluationError
from competition.evaluation import metrics
from competition.evaluation.dataset_metrics.features import (
    Features,
    Floats,
    Integers,
    require_every_class,
    require_same_dimensions,
    rows_of_width,
    unit_rows,
)
from competition.evaluation.features import LabelledFeatures, check
from competition.evaluation.nearest import nearest_rows

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


def class_centres(images: LabelledFeatures, classes: int) -> Floats:
    """The normalised mean of the normalised features of each class, float64 (classes, dimensions).

    Raises:
        EvaluationError: a class is empty, there is a greater label, or features and labels do not fit together.
        ModelOutputError: a feature is not finite, or it or the mean of a class is zero.
    """
    rows, labels = _checked(images, classes)
    require_every_class(labels, classes, rows.name)
    sums = np.zeros((classes, rows.dimensions))
    for start, block in rows.directions().blocks():
        np.add.at(sums, labels[start : start + len(block)], block)
    return unit_rows(sums, f"the class centres of {rows.name}")


def _checked(images: LabelledFeatures, classes: int) -> tuple[Features, Integers]:
    """Features and labels of images of one class each; raises what ``check`` raises."""
    check(images, classes, images.name)
    if images.several:
        raise EvaluationError(
            f"Images of the {images.name} show several classes.", hint="Class centres need one class an image."
        )
    return Features(images.features, f"the {images.name}"), images.labels.astype(np.int64, copy=False)


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
    classes = texts.rows if texts is not None else int(train.labels.max(initial=0)) + 1
    images, labels = _checked(test, classes)
    right: dict[Recogniser, list[NDArray[np.bool_]]] = {}
    for rows, found in scores_of(train, images, classes, texts, neighbours=neighbours):
        for name, scores in found.items():
            right.setdefault(name, []).append(metrics.ranks(scores, labels[rows]) == 0)
    return {name: _recognition(np.concatenate(right[name]), labels, classes) for name in Recogniser if name in right}


def scores_of(
    train: LabelledFeatures,
    images: Features,
    classes: int,
    text: NDArray[Any] | Features | None = None,
    *,
    neighbours: int = NEIGHBOURS,
    device: torch.device | None = None,
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
        device: that looks for neighbours; the CPU when absent.

    Raises:
        EvaluationError, ModelOutputError: as ``recognise``.
    """
    texts = None if text is None else Features.of(text, "the set of text features")
    centres = class_centres(train, classes)
    for other in (images, texts):
        if other is not None:
            require_same_dimensions(Features(train.features, f"the {train.name}"), other)
    if not 1 <= neighbours <= len(train):
        raise EvaluationError(
            f"{neighbours:,} nearest of {len(train):,} training images cannot be found.",
            hint="Ask for at least one neighbour, and at most as many as there are training images.",
        )
    scorer = _Scorer.of(train, centres, texts, neighbours, device)
    for start, block in images.directions().blocks(rows_of_width(classes)):
        yield slice(start, start + len(block)), scorer.scores(block)


@dataclass(frozen=True, slots=True)
class _Scorer:
    train: LabelledFeatures
    centres: Floats
    texts: tuple[Floats, Floats] | None
    """Their directions, and those of their sums with the centres."""
    neighbours: int
    device: torch.device | None

    @classmethod
    def of(
        cls,
        train: LabelledFeatures,
        centres: Floats,
        texts: Features | None,
        neighbours: int,
        device: torch.device | None,
    ) -> _Scorer:
        if texts is None:
            return cls(train, centres, None, neighbours, device)
        said = texts.directions().every()
        both = unit_rows(said + centres, "the sums of text features and class centres")
        return cls(train, centres, (said, both), neighbours, device)

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
        nearest = nearest_rows(self.train.features, block, self.neighbours, device=self.device).rows
        shares = np.zeros((len(block), len(self.centres)))
        rows = np.arange(len(block))
        for column in nearest.T:
            shares[rows, self.train.labels[column]] += 1
        return shares / self.neighbours


def _recognition(right: NDArray[np.bool_], labels: Integers, classes: int) -> Recognition:
    images = np.bincount(labels, minlength=classes)
    named = np.bincount(labels, weights=right, minlength=classes)
    recall = np.full(classes, np.nan)
    np.divide(named, images, out=recall, where=images > 0)
    outcomes = right.astype(np.float64)
    return Recognition(float(outcomes.mean()), metrics.mean_of_means(metrics.per_class(outcomes, labels)), recall)
