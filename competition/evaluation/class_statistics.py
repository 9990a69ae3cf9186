"""What SELECT says about the classes of a labelled dataset, and about a model's answers on them. Pure; numpy alone.

Definitions are those of ``analytical/key.md`` of SELECT (arXiv 2410.05057): coverage, LT@500, LS@5pct, and Pearson
correlations over classes. SELECT's "balanced accuracy" is the mean of precision and recall.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEW_IMAGES = 500
LARGEST_SHARE = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassBalance:
    """How samples are spread over classes.

    Args:
        classes: how many there are, empty ones among them.
        samples: of all classes.
        coverage: classes with a sample.
        few: classes with fewer than 500 samples (LT@500).
        largest_share: percent of all samples that the largest 5 % of the classes have (LS@5pct); 0 without samples.
        least: samples of the smallest class, which may be 0.
        median: over all classes.
        most: samples of the largest class.
        imbalance: the largest class over the smallest one that is not empty; 0 without samples.
    """

    classes: int
    samples: int
    coverage: int
    few: int
    largest_share: float
    least: int
    median: float
    most: int
    imbalance: float

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON."""
        return asdict(self)


def class_balance(counts: ArrayLike) -> ClassBalance:
    """The balance of a dataset from the number of samples of every class.

    Args:
        counts: whole numbers, not negative, shape (classes,); an empty class is a 0.

    Raises ``ValueError`` for no class or a negative count.
    """
    ordered = np.sort(np.asarray(counts, dtype=np.int64))
    if ordered.ndim != 1 or not len(ordered) or ordered[0] < 0:
        raise ValueError("a balance needs one count, not negative, for each of at least one class")
    samples = int(ordered.sum())
    largest = largest_classes(len(ordered))
    filled = ordered[ordered > 0]
    return ClassBalance(
        len(ordered),
        samples,
        len(filled),
        int(np.count_nonzero(ordered < FEW_IMAGES)),
        100.0 * float(ordered[-largest:].sum()) / samples if samples else 0.0,
        int(ordered[0]),
        float(np.median(ordered)),
        int(ordered[-1]),
        float(filled[-1] / filled[0]) if len(filled) else 0.0,
    )


def largest_classes(classes: int) -> int:
    """How many classes are the largest 5 %: at least one."""
    return max(1, round(LARGEST_SHARE * classes))


@dataclass(frozen=True, slots=True)
class ClassScores:
    """A model's answers class by class; every array has shape (classes,), float64.

    Args:
        recall: share of the class's images that are recognised; NaN for a class without images. Also its accuracy.
        precision: share of the answers of this class that are right; 0 where it is never answered.
        frequency: share of all answers.
        skew: of the greatest confusions with other classes, see ``confusion_skew``.
    """

    recall: Floats
    precision: Floats
    frequency: Floats
    skew: Floats

    @property
    def balanced(self) -> Floats:
        """SELECT's "balanced accuracy": the mean of precision and recall."""
        return (self.precision + self.recall) / 2


def class_scores(labels: ArrayLike, answers: ArrayLike, classes: int) -> ClassScores:
    """Recall, precision, frequency and confusion skew of every class.

    Args:
        labels: true class of every image, in [0, classes).
        answers: the model's first choice, likewise.
        classes: how many there are.

    Raises ``ValueError`` when a label or an answer is out of range, or their numbers differ.
    """
    true, said = np.asarray(labels, dtype=np.int64), np.asarray(answers, dtype=np.int64)
    if true.shape != said.shape or true.ndim != 1 or not len(true):
        raise ValueError(f"{true.shape} labels do not fit {said.shape} answers")
    if min(true.min(), said.min()) < 0 or max(true.max(), said.max()) >= classes:
        raise ValueError(f"a label or an answer is not in [0, {classes})")
    confusion = np.bincount(true * classes + said, minlength=classes * classes).reshape(classes, classes)
    right, images, answered = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore"):
        shares = confusion / images[:, None]
        recall = right / images
    np.fill_diagonal(shares, 0.0)
    precision = right / np.maximum(answered, 1)
    skew = np.array([confusion_skew(row) for row in shares])
    return ClassScores(recall, precision, answered / len(true), skew)


def confusion_skew(confusions: ArrayLike, most: int = 5) -> float:
    """Biased Fisher-Pearson skewness (m3 / m2 ** 1.5) of the ``most`` greatest positive confusions of a class.

    0 where they are all equal, or there is none.
    """
    values = np.asarray(confusions, dtype=np.float64)
    values = np.sort(values[values > 0])[-most:]
    if not len(values) or np.ptp(values) <= 1e-12:  # equal up to how a quotient was rounded
        return 0.0
    centred = values - values.mean()
    return float((centred**3).mean() / (centred**2).mean() ** 1.5)


def pearson(first: ArrayLike, second: ArrayLike) -> float:
    """Pearson's correlation over the classes where both are finite; NaN where one is constant or fewer than two are."""
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both] - x[both].mean() if both.any() else x[both], y[both] - y[both].mean() if both.any() else y[both]
    size = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / size) if size > 0 else float("nan")


@dataclass(frozen=True, slots=True)
class ClassTable:
    """What is known of every class of one dataset and of the model trained on it; arrays of shape (classes,)."""

    counts: NDArray[np.int64]
    accuracy: Floats
    precision: Floats
    recall: Floats
    skew: Floats


def correlations(table: ClassTable, reference: ClassTable) -> dict[str, float]:
    """SELECT's correlations over classes, by its abbreviations.

    Args:
        table: the dataset in question.
        reference: the one to compare with, in SELECT ImageNet-1k's; classes in the same order.
    """
    return {
        "R_P_CC": pearson(table.precision, table.counts),
        "R_A_CS": pearson(table.accuracy, table.skew),
        "R_INA_A": pearson(reference.accuracy, table.accuracy),
        "R_P_R": pearson(table.precision, table.recall),
        "R_INAV_AV": pearson(reference.counts, table.counts),
        "R_A_CC": pearson(table.accuracy, table.counts),
    }
