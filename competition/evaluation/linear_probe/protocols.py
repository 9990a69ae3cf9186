"""ELEVATER's, CLIP_benchmark's and SimCore's linear probes.

Left aside of the originals on purpose, because it is no part of what they mean to measure: ELEVATER and SimCore report
the best epoch on the test set (kept as ``peeking``, for comparison with published numbers); ELEVATER scores a training
that failed or whose logits are no numbers as if it had predicted something; CLIP_benchmark takes the highest label
of the training set for the number of classes, and reports a top 5 from six classes on instead of five; SimCore's
frozen encoder stays in training mode, so that its normalisation follows the target's images.

Where images show several classes (VOC 2007) ELEVATER trains each class by itself and then ranks by a softmax over them;
with ``peeking`` that is kept too, else classes are ranked by their own logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation.features import LabelledFeatures, check
from competition.evaluation.linear_probe.heads import Candidate, HeadTraining
from competition.evaluation.linear_probe.scoring import METRICS, require_metric
from competition.evaluation.linear_probe.search import Found, peak_search, weight_decays
from competition.evaluation.linear_probe.splits import few_shot_rows, require_every_class, validation_split
from competition.evaluation.linear_probe.trainer import ProbeTrainer
from competition.evaluation.outcome import ProtocolOutcome

_ELEVATER_SEARCH = HeadTraining(epochs=10, batch=64, optimizer="sgd", normalised=True)
_ELEVATER_FINAL = replace(_ELEVATER_SEARCH, epochs=50)
_CLIP_BENCHMARK = HeadTraining(epochs=10, batch=64, optimizer="adamw", schedule="cosine")
_SIMCORE = HeadTraining(
    epochs=100, batch=256, optimizer="sgd", nesterov=True, schedule="milestones", milestones=(60, 80)
)
_SIMCORE_RATE = Candidate(learning_rate=10.0, weight_decay=0.0)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The outcome on the test set, and the hyper-parameters: given, or found by a search."""

    outcome: ProtocolOutcome
    candidate: Candidate
    found: Found | None


@dataclass(frozen=True, slots=True)
class Elevater:
    """ELEVATER's probe.

    Args:
        metric: ``acc1``, ``mean_per_class_recall``, ``auc`` or ``map11``: what the search maximises.
        shots: of each class; all images when absent. One shot becomes two, of which one validates and one trains.
        peeking: report the best epoch on the test set, as the original does, instead of the last.
        seed: of the shots, weights and orders.
        search: trainings of the search.
        final: of the reported classifier, on training and validation images together.
    """

    metric: str = "acc1"
    shots: int | None = None
    peeking: bool = False
    seed: int = 0
    search: HeadTraining = _ELEVATER_SEARCH
    final: HeadTraining = _ELEVATER_FINAL
    learning_rates: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    decay_powers: tuple[float, float] = (-6, 6)

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise EvaluationError(f"ELEVATER's probe cannot be searched by {self.metric!r}.")
        _require_shots(self.shots)


@dataclass(frozen=True, slots=True)
class ClipBenchmark:
    """CLIP_benchmark's probe: AdamW with a cosine schedule on normalised features.

    Args:
        shots: of each class; all images when absent.
        seed: of the shots, weights and orders.
        training: of every classifier.
        learning_rate: of every classifier.
        decay_powers: of the weight decays to search, where there is a validation set; without one it is 0.
    """

    shots: int | None = None
    seed: int = 0
    training: HeadTraining = _CLIP_BENCHMARK
    learning_rate: float = 0.1
    decay_powers: tuple[float, float] = (-6, 2)

    def __post_init__(self) -> None:
        _require_shots(self.shots)


@dataclass(frozen=True, slots=True)
class SimCore:
    """SimCore's linear evaluation: one learning rate for all sets, a tenth of it after epochs 60 and 80.

    Args:
        peeking: report the best epoch on the test set by ``metric``, as the original does, instead of the last.
        metric: ``mean_per_class_recall`` for Aircraft, Pet, Flowers and Indoor, else ``acc1``.
        seed: of weights and orders.
        training: of the classifier.
        candidate: its hyper-parameters.
    """

    peeking: bool = False
    metric: str = "acc1"
    seed: int = 0
    training: HeadTraining = _SIMCORE
    candidate: Candidate = _SIMCORE_RATE


def elevater(
    train: LabelledFeatures,
    test: LabelledFeatures,
    classes: int,
    protocol: Elevater | None = None,
    *,
    text_weights: NDArray[np.float32] | None = None,
    device: torch.device | None = None,
) -> ProbeResult:
    """Search learning rate and L2 on a fifth of the training images, train with the best, and test.

    Args:
        train: features as the model gives them, not normalised.
        test: likewise.
        classes: how many there are.
        protocol: settings.
        text_weights: the zero-shot classifier [D, classes] that training starts from; drawn weights when absent.
        device: that computes; the CPU when absent.

    Raises:
        EvaluationError: a set is empty or does not fit, a class has no training image, or the search finds nothing.
        ModelOutputError: a feature is not finite, or the final training diverges.
    """
    chosen = protocol or Elevater()
    _check(train, test, classes)
    require_metric(chosen.metric, test.labels)
    shots = 2 if chosen.shots == 1 else chosen.shots
    seen = train if shots is None else train.taken(few_shot_rows(train.labels, shots, chosen.seed))
    training, validating = (seen.taken(rows) for rows in validation_split(seen.labels))
    initial = None if text_weights is None else _initial(text_weights, seen.features.shape[1], classes)
    trainer = ProbeTrainer(classes, chosen.seed, initial, device, original=chosen.peeking)
    found = search_elevater(trainer, training, validating, chosen)
    final = training if chosen.shots == 1 else seen
    outcome = trainer.tested([final], test, found.candidate, chosen.final, chosen.metric, peeking=chosen.peeking)
    return ProbeResult(outcome, found.candidate, found)


def search_elevater(
    trainer: ProbeTrainer, train: LabelledFeatures, validation: LabelledFeatures, protocol: Elevater
) -> Found:
    """ELEVATER's search: the learning rate and L2 whose best epoch is best on the validation set.

    Raises:
        EvaluationError: there is nothing to train on, or nothing is ever right.
    """
    if not len(train):
        raise EvaluationError(
            "The training set has one image of each class, so that none is left beside the validation set.",
            hint="A linear probe needs at least two images of some class.",
        )

    def scores(candidates: Sequence[Candidate]) -> list[float]:
        return trainer.scores(train, validation, candidates, protocol.search, protocol.metric, best_epoch=True)

    return peak_search(scores, protocol.learning_rates, weight_decays(*protocol.decay_powers))


def clip_benchmark(
    train: LabelledFeatures,
    test: LabelledFeatures,
    classes: int,
    protocol: ClipBenchmark | None = None,
    *,
    validation: LabelledFeatures | None = None,
    device: torch.device | None = None,
) -> ProbeResult:
    """CLIP_benchmark's probe; arguments and errors as those of ``elevater``.

    Args:
        train: normalised features.
        test: likewise.
        classes: how many there are.
        protocol: settings.
        validation: that the weight decay is searched by; it is trained on too, unless there are shots.
        device: that computes; the CPU when absent.
    """
    chosen = protocol or ClipBenchmark()
    _check(train, test, classes)
    seen = train
    if chosen.shots is not None:
        seen = train.taken(few_shot_rows(train.labels, chosen.shots, chosen.seed, exact=True))
    trainer = ProbeTrainer(classes, chosen.seed, None, device)
    candidate, found = Candidate(chosen.learning_rate, 0.0), None
    if validation is not None:
        check(validation, classes, "validation set", dimensions=train.features.shape[1])
        found = peak_search(
            lambda candidates: trainer.scores(seen, validation, candidates, chosen.training, "acc1", best_epoch=False),
            (chosen.learning_rate,),
            weight_decays(*chosen.decay_powers),
        )
        candidate = found.candidate
    final = seen if validation is None or chosen.shots is not None else _joined(seen, validation)
    return ProbeResult(trainer.tested([final], test, candidate, chosen.training), candidate, found)


def simcore(
    views: Sequence[LabelledFeatures],
    test: LabelledFeatures,
    classes: int,
    protocol: SimCore | None = None,
    device: torch.device | None = None,
) -> ProbeResult:
    """SimCore's linear evaluation; errors as those of ``elevater``.

    Args:
        views: features of the training images as the model gives them, once or of several augmentations (a random
            crop of 0.2 to 1 of the area and a flip); each epoch sees one of them in turn, and asks for it only then.
        test: features of the test images.
        classes: how many there are.
        protocol: settings.
        device: that computes; the CPU when absent.
    """
    chosen = protocol or SimCore()
    require_metric(chosen.metric, test.labels)
    trainer = ProbeTrainer(classes, chosen.seed, None, device)
    checked = _CheckedViews(views, test, classes)
    outcome = trainer.tested(checked, test, chosen.candidate, chosen.training, chosen.metric, peeking=chosen.peeking)
    return ProbeResult(outcome, chosen.candidate, None)


class _CheckedViews(Sequence[LabelledFeatures]):
    """Views, each checked when it is asked for: they may be made only then."""

    def __init__(self, views: Sequence[LabelledFeatures], test: LabelledFeatures, classes: int) -> None:
        self._views, self._test, self._classes = views, test, classes
        self._labels: NDArray[np.int64] | None = None
        if not views:
            raise EvaluationError("A linear probe needs a view, or several of the same images.")

    def __len__(self) -> int:
        return len(self._views)

    @overload
    def __getitem__(self, number: int) -> LabelledFeatures: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[LabelledFeatures]: ...
    def __getitem__(self, number: int | slice) -> LabelledFeatures | Sequence[LabelledFeatures]:
        if isinstance(number, slice):
            return [self[place] for place in range(*number.indices(len(self)))]
        view = self._views[number]
        _check(view, self._test, self._classes)
        if self._labels is not None and not np.array_equal(view.labels, self._labels):
            raise EvaluationError("The views of a linear probe must be of the same images.")
        self._labels = view.labels
        return view


def _check(train: LabelledFeatures, test: LabelledFeatures, classes: int) -> None:
    check(train, classes, "training set")
    check(test, classes, "test set", dimensions=train.features.shape[1])
    require_every_class(train, classes, "training set")
    if train.several != test.several:
        raise EvaluationError("Images of only one of the training set and the test set show several classes.")


def _require_shots(shots: int | None) -> None:
    if shots is not None and shots < 1:
        raise EvaluationError(f"A probe of {shots} shots has nothing to train on.")


def _initial(text_weights: NDArray[np.float32], dimensions: int, classes: int) -> NDArray[np.float32]:
    if text_weights.shape != (dimensions, classes):
        raise EvaluationError(
            f"The text classifier is of shape {list(text_weights.shape)} instead of {[dimensions, classes]}."
        )
    return text_weights.T


def _joined(first: LabelledFeatures, second: LabelledFeatures) -> LabelledFeatures:
    features = np.concatenate([first.features, second.features])
    return LabelledFeatures(features, np.concatenate([first.labels, second.labels]))
