"""What linear probes have in common: scores of candidates on a validation set, and one's outcome on the test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from competition.errors import ModelOutputError
from competition.evaluation import metrics
from competition.evaluation.classification import outcome_of_ranks
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.linear_probe.heads import Candidate, Heads, HeadTraining, Predictions, train_heads
from competition.evaluation.outcome import ProtocolOutcome

_WEIGHTS_AT_A_TIME = 1 << 27
_DIVERGED_HINT = "Are the features of a sensible size? Their lengths should be near 1, or a few tens at most."


@dataclass(frozen=True, slots=True)
class ProbeTrainer:
    """Trains classifiers of features.

    Args:
        classes: how many there are.
        seed: of weights and orders.
        initial: weights [classes, D] to start from; drawn when absent.
        device: that computes; the CPU when absent.
    """

    classes: int
    seed: int
    initial: NDArray[np.float32] | None
    device: torch.device | None

    def scores(
        self,
        train: LabelledFeatures,
        validation: LabelledFeatures,
        candidates: Sequence[Candidate],
        training: HeadTraining,
        metric: str,
        *,
        best_epoch: bool,
    ) -> list[float]:
        """Each candidate's score on the validation set: of its best epoch or the last. 0 where it diverged before."""
        at_a_time = max(1, _WEIGHTS_AT_A_TIME // (self.classes * train.features.shape[1]))
        return [
            score
            for first in range(0, len(candidates), at_a_time)
            for score in self._scores_of(
                candidates[first : first + at_a_time], train, validation, training, metric, best_epoch
            )
        ]

    def tested(
        self,
        views: Sequence[LabelledFeatures],
        test: LabelledFeatures,
        candidate: Candidate,
        training: HeadTraining,
        *,
        peeking_metric: str | None = None,
    ) -> ProtocolOutcome:
        """Train, and test after the last epoch; or after each, and report the best by a metric, the first of equals.

        Raises:
            ModelOutputError: the training diverges.
        """
        outcomes: list[ProtocolOutcome] = []
        epochs = train_heads(
            views, self.classes, [candidate], training, initial=self.initial, seed=self.seed, device=self.device
        )
        for epoch, heads in enumerate(epochs, 1):
            if not heads.alive:
                raise ModelOutputError(f"The linear probe diverges in epoch {epoch}.", hint=_DIVERGED_HINT)
            if peeking_metric is not None or epoch == training.epochs:
                outcomes.append(self._outcome(heads, test))
        if peeking_metric is None:
            return outcomes[-1]
        return max(outcomes, key=lambda outcome: outcome.metrics[peeking_metric] or 0.0)

    def _scores_of(
        self,
        candidates: Sequence[Candidate],
        train: LabelledFeatures,
        validation: LabelledFeatures,
        training: HeadTraining,
        metric: str,
        best_epoch: bool,
    ) -> list[float]:
        best = [0.0] * len(candidates)
        epochs = train_heads(
            [train], self.classes, candidates, training, initial=self.initial, seed=self.seed, device=self.device
        )
        for epoch, heads in enumerate(epochs, 1):
            if best_epoch or epoch == training.epochs:
                for position, predicted in zip(heads.alive, heads.predictions(validation.features), strict=True):
                    best[position] = max(best[position], score(predicted, validation.labels, metric))
        return best

    def _outcome(self, heads: Heads, test: LabelledFeatures) -> ProtocolOutcome:
        logits = np.concatenate([part[:, 0].cpu().numpy() for part in heads.logits(test.features)])
        return outcome_of_ranks(metrics.ranks(logits, test.labels), test.labels, self.classes)


def score(predicted: Predictions, labels: NDArray[np.int64], metric: str) -> float:
    """acc1 or mean_per_class_recall of predicted classes [N]."""
    right = (predicted == labels).astype(np.float64)
    if metric == "acc1":
        return float(right.mean())
    return metrics.mean_of_means(metrics.per_class(right, labels))
