"""What linear probes have in common: scores of candidates on a validation set, and one's outcome on the test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from competition.errors import ModelOutputError
from competition.evaluation.features import LabelledFeatures
from competition.evaluation.linear_probe import scoring
from competition.evaluation.linear_probe.heads import Candidate, Heads, HeadTraining, train_heads
from competition.evaluation.outcome import ProtocolOutcome

_WEIGHTS_AT_A_TIME = {"cpu": 1 << 19}  # what a processor's caches hold beside the moments
_WEIGHTS_AT_A_TIME_ELSEWHERE = 1 << 27
_DIVERGED_HINT = "Are the features of a sensible size? Their lengths should be near 1, or a few tens at most."


@dataclass(frozen=True, slots=True)
class ProbeTrainer:
    """Trains classifiers of features.

    Args:
        classes: how many there are.
        seed: of weights and orders.
        initial: weights [classes, D] to start from; drawn when absent.
        device: that computes; the CPU when absent.
        original: rank several answers an image as ELEVATER does (see ``scoring.outcome``).
    """

    classes: int
    seed: int
    initial: NDArray[np.float32] | None
    device: torch.device | None
    original: bool = False

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
        place = "cpu" if self.device is None else self.device.type
        weights = _WEIGHTS_AT_A_TIME.get(place, _WEIGHTS_AT_A_TIME_ELSEWHERE)
        at_a_time = max(1, weights // (self.classes * train.features.shape[1]))
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
        metric: str = "acc1",
        *,
        peeking: bool = False,
    ) -> ProtocolOutcome:
        """Train, and test after the last epoch; or after each, and report the best by the metric, the first of equals.

        Raises:
            ModelOutputError: the training diverges.
        """
        best, kept = -1.0, np.empty((0, 0), dtype=np.float32)
        epochs = train_heads(
            views, self.classes, [candidate], training, initial=self.initial, seed=self.seed, device=self.device
        )
        for epoch, heads in enumerate(epochs, 1):
            if not heads.alive:
                raise ModelOutputError(f"The linear probe diverges in epoch {epoch}.", hint=_DIVERGED_HINT)
            if peeking or epoch == training.epochs:
                logits = np.concatenate([part[:, 0].cpu().numpy() for part in heads.logits(test.features)])
                found = scoring.score(logits, test.labels, metric, original=self.original) if peeking else 0.0
                if found > best:
                    best, kept = found, logits
        return scoring.outcome(kept, test.labels, self.classes, metric, original=self.original)

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
                for position, found in zip(heads.alive, self._validated(heads, validation, metric), strict=True):
                    best[position] = max(best[position], found)
        return best

    def _validated(self, heads: Heads, validation: LabelledFeatures, metric: str) -> list[float]:
        """The score of every classifier that is alive."""
        labels = validation.labels
        if metric in scoring.CHOICES:
            chosen = heads.predictions(validation.features)
            return [scoring.score_of_choices(row, labels, metric) for row in chosen]
        logits = np.concatenate([part.cpu().numpy() for part in heads.logits(validation.features)])
        return [
            scoring.score(logits[:, place], labels, metric, original=self.original) for place in range(logits.shape[1])
        ]
