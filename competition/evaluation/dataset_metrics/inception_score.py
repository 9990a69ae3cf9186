"""Inception score (Salimans et al. 2016): how sure a classifier is of each image, and how unlike its answers are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, log_softmax

from competition.errors import EvaluationError
from competition.evaluation.dataset_metrics.features import Features, Floats, Integers

SPLITS = 10
_SUM_TOLERANCE = 1e-3


class Answers(StrEnum):
    """What a classifier's rows are."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"


@dataclass(frozen=True, slots=True)
class InceptionScore:
    """The score of a dataset: from 1 to the number of classes.

    Args:
        mean: over the splits.
        deviation: standard deviation over them; 0 of one split.
        splits: the score of each, float64 (splits,).
    """

    mean: float
    deviation: float
    splits: Floats


def inception_score(
    answers: NDArray[Any] | Features,
    *,
    splits: int = SPLITS,
    seed: int = 0,
    kind: Answers = Answers.LOGITS,
) -> InceptionScore:
    """exp of the mean Kullback-Leibler divergence of an image's class probabilities from those of its whole split.

    All images are taken in one call: the score of a batch is not that of a dataset, and the mean over batches is
    neither. Images are dealt to the splits at random, none is left out, sizes differ by one at most: files are often
    in the order of their classes, and a split of few classes scores low.

    Args:
        answers: of the classifier to every image, (images, classes).
        splits: how many; the published scores are of 10, the value of one split needs no seed.
        seed: of the deal.
        kind: what the answers are.

    Raises:
        EvaluationError: fewer images than splits, no split, or probabilities that are none.
        ModelOutputError: an answer that is not finite.
    """
    if splits < 1:
        raise EvaluationError(f"Images cannot be dealt to {splits} splits.", hint="Take one split or more.")
    rows = Features.of(answers, "the list of answers")
    if rows.rows < splits:
        raise EvaluationError(
            f"{splits:,} splits are more than the rows of {rows.name}, {rows.rows:,}.", hint="Take fewer splits."
        )
    split_of = _dealt(rows.rows, splits, seed)
    sums, entropies = np.zeros((splits, rows.dimensions)), np.zeros(splits)
    for start, block in rows.blocks():
        shares = _probabilities(block, kind, rows.name, start)
        where = split_of[start : start + len(block)]
        np.add.at(sums, where, shares)
        np.add.at(entropies, where, entr(shares).sum(axis=1))
    sizes = np.bincount(split_of, minlength=splits)
    divergences = entr(sums / sizes[:, None]).sum(axis=1) - entropies / sizes
    scores = np.exp(np.maximum(divergences, 0))
    return InceptionScore(float(scores.mean()), float(scores.std()), scores)


def _dealt(rows: int, splits: int, seed: int) -> Integers:
    """The split of each row."""
    dealt: Integers = np.random.default_rng(seed).permutation(np.arange(rows, dtype=np.int64) % splits)
    return dealt


def _probabilities(block: Floats, kind: Answers, name: str, start: int) -> Floats:
    if kind is Answers.LOGITS:
        shares: Floats = np.exp(log_softmax(block, axis=1))
        return shares
    sums = block.sum(axis=1)
    wrong = np.flatnonzero((block < 0).any(axis=1) | (np.abs(sums - 1) > _SUM_TOLERANCE))
    if len(wrong):
        raise EvaluationError(
            f"Row {start + int(wrong[0])} of {name} is no probability distribution (sum {sums[wrong[0]]:.4g}).",
            hint="Give probabilities, which are not negative and sum to 1, or say that the rows are logits.",
        )
    given: Floats = block / sums[:, None]
    return given
