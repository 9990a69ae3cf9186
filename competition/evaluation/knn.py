"""The weighted nearest-neighbour classifier of SELECT (DINO's evaluation) and of SimCore, for all k in one pass.

A neighbour's vote for its class weighs ``exp(cosine / temperature)``. As in both programs the class with the most votes
is the prediction, of equal ones the lowest. Where fewer than five classes have votes, SELECT's program fills its top 5
with whatever its sort puts next; here only classes with votes count. For k < 5 these are at most k, as there.

SimCore's program writes the features of the last, smaller batch over earlier columns and leaves zeros at the end; that
is no part of the protocol and is not followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation import metrics
from competition.evaluation.classification import outcome_of_ranks
from competition.evaluation.features import LabelledFeatures, check
from competition.evaluation.nearest import Neighbours, nearest_rows
from competition.evaluation.outcome import ProtocolOutcome

_LEAST_TEMPERATURE = 0.005
_VOTES_AT_A_TIME = 1 << 22


@dataclass(frozen=True, slots=True)
class KnnSettings:
    """Numbers of neighbours, each an outcome of its own, and the temperature of votes (at least 0.005)."""

    neighbours: tuple[int, ...]
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if not self.neighbours or min(self.neighbours) < 1:
            raise EvaluationError(f"Neighbours must be numbers from 1 on, not {list(self.neighbours)}.")
        if not self.temperature >= _LEAST_TEMPERATURE:  # the votes of far neighbours would vanish in float64
            raise EvaluationError(f"A temperature of {self.temperature} is below {_LEAST_TEMPERATURE}.")


SELECT = KnnSettings((10, 20, 100, 200))
SIMCORE = KnnSettings((20, 200))


def evaluate(
    support: LabelledFeatures,
    queries: LabelledFeatures,
    classes: int,
    settings: KnnSettings = SELECT,
    device: torch.device | None = None,
) -> dict[int, ProtocolOutcome]:
    """Classify queries by their nearest support vectors: an outcome for each k.

    acc1; acc5 (from 5 classes on); mean per-class recall over the classes that occur. Lengths of features do not
    matter. A class without support vectors is never predicted.

    Args:
        support: that votes.
        queries: that are classified.
        classes: how many there are.
        settings: of the protocol.
        device: that multiplies; the CPU when absent.

    Raises:
        EvaluationError: nothing to classify or to classify by, labels that are no classes, or k above the support.
        ModelOutputError: a feature is not finite.
    """
    check(support, classes, "support set")
    check(queries, classes, "query set", dimensions=support.features.shape[1])
    most = max(settings.neighbours)
    if most > len(support):
        raise EvaluationError(
            f"The support set has {len(support)} images, which is fewer than the {most} neighbours that are asked for.",
            hint="Choose fewer neighbours or a larger support set.",
        )
    found = nearest_rows(support.features, queries.features, most, device=device)
    ranks: dict[int, list[NDArray[np.int64]]] = {k: [] for k in settings.neighbours}
    for k, rows, votes in votes_by_k(found, support.labels, classes, settings):
        ranks[k].append(_ranks(votes, queries.labels[rows]))
    return {k: outcome_of_ranks(np.concatenate(parts), queries.labels, classes) for k, parts in ranks.items()}


def votes_by_k(
    found: Neighbours, labels: NDArray[np.int64], classes: int, settings: KnnSettings
) -> Iterator[tuple[int, slice, NDArray[np.float64]]]:
    """For some queries after the others, and each k: k, which queries, and their votes [queries, classes].

    Votes of a query are those of the protocol times a number of its own. The array is used again afterwards.

    Args:
        found: neighbours, at least as many as the greatest k.
        labels: of the support.
        classes: how many there are.
        settings: of the protocol.
    """
    step = max(1, _VOTES_AT_A_TIME // classes)
    for start in range(0, len(found.rows), step):
        rows = slice(start, min(start + step, len(found.rows)))
        similarities = found.similarities[rows].astype(np.float64)
        weights = np.exp((similarities - similarities[:, :1]) / settings.temperature)
        places = labels[found.rows[rows]] + classes * np.arange(len(weights))[:, None]
        votes = np.zeros(len(weights) * classes)
        counted = 0
        for k in sorted(set(settings.neighbours)):
            np.add.at(votes, places[:, counted:k].ravel(), weights[:, counted:k].ravel())
            counted = k
            yield k, rows, votes.reshape(-1, classes)


def _ranks(votes: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank of the right class; without any vote it comes last."""
    without = votes[np.arange(len(votes)), targets] == 0
    ranks = metrics.ranks(votes, targets)
    ranks[without] = votes.shape[1]
    return ranks
