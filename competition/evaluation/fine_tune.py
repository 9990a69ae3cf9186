"""Fine-tuning a whole image model on a labelled set: SELECT's transfer and SimCore's semi-supervised evaluation.

In SELECT's program the momentum argument reaches no optimiser, so it trains by plain SGD; ``SELECT_LEGACY`` keeps that,
because published numbers are of it. Its LFW task has other people in the test set than in the training set, so
that every model scores 0; it is no task here. SimCore's program reports the best epoch on the test set (``peeking``).
It crops from whole images; here crops are of the prepared ones.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from competition.errors import EvaluationError, ModelOutputError
from competition.evaluation import metrics
from competition.evaluation.classification import outcome_of_ranks
from competition.evaluation.linear_probe.splits import validation_split
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.random_crops import random_crops

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_TEST_BATCH = 256
_DECAY_FACTOR = 0.1


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Prepared images uint8 [N, S, S, 3] and their classes int64 [N]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def taken(self, rows: NDArray[np.int64]) -> LabelledImages:
        """The given rows, in the given order."""
        return LabelledImages(self.images[rows], self.labels[rows])


@dataclass(frozen=True, slots=True)
class FineTuning:
    """Settings of a fine-tuning; SGD and cross entropy throughout.

    Args:
        image_size: of what the model sees; larger prepared images are cut in the middle.
        batch: images a step; a last, smaller one of an epoch counts, unless it is a single image.
        learning_rates: with several, that of the best accuracy on a fifth of the training images is taken.
        steps: of training, or ``epochs``: the other is absent.
        epochs: see there.
        decay_steps: the learning rate is a tenth after every so many steps.
        milestones: or a tenth from each of these epochs on, counted from 0.
        cosine: or half a cosine over all steps.
        momentum: of SGD.
        nesterov: SGD's variant of it.
        weight_decay: coupled, on all weights.
        crops: train on random crops (0.2 to 1 of the area) and flips.
        label_share: of the training images, drawn without regard to classes, as ``random.sample`` draws after seed 0.
        mean: of channels, for pixels in 0 to 1.
        std: likewise.
        peeking: report the best epoch on the test set.
        seed: of the new classifier, orders and crops.
    """

    image_size: int
    batch: int
    learning_rates: tuple[float, ...]
    steps: int | None = None
    epochs: int | None = None
    decay_steps: int | None = None
    milestones: tuple[int, ...] = ()
    cosine: bool = False
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    crops: bool = False
    label_share: float = 1.0
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD
    peeking: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.steps or 0) + (self.epochs or 0) < 1 or not (self.steps is None) ^ (self.epochs is None):
            raise EvaluationError("A fine-tuning needs steps or epochs.")
        if not self.learning_rates or not 0 < self.label_share <= 1:
            raise EvaluationError("A fine-tuning needs at least one learning rate, and a share of labels in (0, 1].")

    def rate_factor(self, step: int, steps_an_epoch: int, steps: int) -> float:
        """The learning rate's, at a step of all ``steps``."""
        if self.cosine:
            return 0.5 * (1 + math.cos(math.pi * step / steps))
        if self.decay_steps is not None:
            return float(_DECAY_FACTOR ** (step // self.decay_steps))
        return float(_DECAY_FACTOR ** sum(step // steps_an_epoch >= milestone for milestone in self.milestones))


SELECT_LEGACY = FineTuning(image_size=64, batch=64, learning_rates=(0.01,), steps=1000, decay_steps=300, seed=1234)
"""SELECT's published protocol; images are squashed to 64 x 64, mean and std are the task's."""

SELECT_SANE = FineTuning(
    image_size=224,
    batch=64,
    learning_rates=(0.001, 0.003, 0.01, 0.03),
    steps=1000,
    cosine=True,
    momentum=0.9,
    nesterov=True,
    seed=1234,
)
"""As many steps at the size that models are made for, with momentum, and the learning rate chosen for each model."""

SIMCORE_SEMI_SUPERVISED = FineTuning(
    image_size=224,
    batch=256,
    learning_rates=(0.1,),
    epochs=100,
    milestones=(60, 80),
    momentum=0.9,
    nesterov=True,
    weight_decay=1e-4,
    crops=True,
    label_share=0.1,
)
"""A tenth of the labels; learning rate and weight decay are SimCore's defaults, as it states none."""


def fine_tune(
    model: nn.Module,
    train: LabelledImages,
    test: LabelledImages,
    classes: int,
    settings: FineTuning,
    device: torch.device | None = None,
) -> ProtocolOutcome:
    """Train a copy of a timm model with a new classifier, and test it.

    Args:
        model: has ``reset_classifier``; it is left as it is.
        train: prepared images of at least the settings' size.
        test: likewise.
        classes: how many there are.
        settings: of the protocol.
        device: that computes; the CPU when absent.

    Raises:
        EvaluationError: a set is empty or does not fit, or too few labels are left to train with.
        ModelOutputError: the training diverges.
    """
    _check(train, classes, settings, "training set")
    _check(test, classes, settings, "test set")
    place = device or torch.device("cpu")
    labelled = train if settings.label_share == 1 else train.taken(labelled_rows(len(train), settings.label_share))
    if len(labelled) < 2:
        raise EvaluationError(
            f"With {settings.label_share:.0%} of {len(train)} labels there is nothing to train with.",
            hint="Choose a larger share of labels.",
        )
    rate = settings.learning_rates[0]
    if len(settings.learning_rates) > 1:
        rate = _best_rate(model, labelled, classes, settings, place)
    outcomes = [
        outcome_of_ranks(metrics.ranks(_logits(tuned, test, settings, place), test.labels), test.labels, classes)
        for tuned in _tuned(model, labelled, classes, replace(settings, learning_rates=(rate,)), place)
    ]
    return max(outcomes, key=lambda outcome: outcome.metrics["acc1"] or 0.0)


def labelled_rows(images: int, share: float) -> NDArray[np.int64]:
    """Rows of the labelled images, those that SimCore's program draws (not by class, always with seed 0)."""
    drawn = random.Random(0).sample(range(images), int(share * images))  # noqa: S311 - the rows are this generator's
    return np.asarray(drawn, dtype=np.int64)


def _best_rate(
    model: nn.Module, train: LabelledImages, classes: int, settings: FineTuning, place: torch.device
) -> float:
    order = np.random.default_rng(settings.seed).permutation(len(train))
    rows, held_rows = (order[part] for part in validation_split(train.labels[order]))
    held = train.taken(held_rows)
    if len(rows) < 2:
        raise EvaluationError(
            "There are too few training images to hold a fifth of each class back.",
            hint="Choose settings with one learning rate.",
        )
    best = (-1.0, settings.learning_rates[0])
    for rate in settings.learning_rates:
        chosen = replace(settings, learning_rates=(rate,), peeking=False)
        try:
            *_, tuned = _tuned(model, train.taken(rows), classes, chosen, place)
            accuracy = float((_logits(tuned, held, settings, place).argmax(axis=1) == held.labels).mean())
        except ModelOutputError:  # a rate that diverges is not the best
            continue
        if accuracy > best[0]:
            best = (accuracy, rate)
    return best[1]


def _tuned(
    model: nn.Module, train: LabelledImages, classes: int, settings: FineTuning, place: torch.device
) -> Iterator[nn.Module]:
    """The model at the end of training; with ``peeking`` after every epoch."""
    generator = np.random.default_rng(settings.seed)
    tuned = _with_classifier(model, classes, settings.seed).to(place).train()
    optimizer = torch.optim.SGD(
        tuned.parameters(),
        settings.learning_rates[0],
        settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov,
    )
    an_epoch = math.ceil(len(train) / settings.batch)
    steps = settings.steps if settings.steps is not None else an_epoch * (settings.epochs or 0)
    for step, rows in zip(range(steps), _batches(len(train), settings.batch, generator), strict=False):
        if len(rows) > 1:  # a batch normalisation cannot take a single image
            pixels = _training_pixels(train.images[np.sort(rows)], settings, generator, place)
            labels = torch.from_numpy(train.labels[np.sort(rows)]).to(place)
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rates[0] * settings.rate_factor(step, an_epoch, steps)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(tuned(pixels), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        last_of_epoch = (step + 1) % an_epoch == 0
        if step + 1 == steps or (settings.peeking and last_of_epoch):
            yield tuned.eval()
            tuned.train()


def _with_classifier(model: nn.Module, classes: int, seed: int) -> nn.Module:
    tuned: Any = copy.deepcopy(model)
    if not hasattr(tuned, "reset_classifier"):
        raise EvaluationError(f"A {type(model).__name__} has no classifier that could be replaced.")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        tuned.reset_classifier(classes)
    whole: nn.Module = tuned.requires_grad_(True)
    return whole


def _batches(images: int, batch: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    while True:
        order = generator.permutation(images)
        for start in range(0, images, batch):
            yield order[start : start + batch]


def _training_pixels(
    images: NDArray[np.uint8], settings: FineTuning, generator: np.random.Generator, place: torch.device
) -> torch.Tensor:
    if not settings.crops:
        return _pixels(images, settings, place)
    whole = torch.from_numpy(images).to(place).permute(0, 3, 1, 2).float()
    return _scaled(random_crops(whole, settings.image_size, generator), settings)


def _pixels(images: NDArray[np.uint8], settings: FineTuning, place: torch.device) -> torch.Tensor:
    margin = (images.shape[1] - settings.image_size) // 2
    middle = slice(margin, margin + settings.image_size)
    cut = torch.from_numpy(np.ascontiguousarray(images[:, middle, middle])).to(place)
    return _scaled(cut.permute(0, 3, 1, 2).float(), settings)


def _scaled(pixels: torch.Tensor, settings: FineTuning) -> torch.Tensor:
    mean, std = (
        torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in (settings.mean, settings.std)
    )
    # Backward passes of some convolutions with the channels of a pixel beside each other end the process on CPUs.
    return pixels.contiguous().div(255).sub_(mean).div_(std)


@torch.inference_mode()
def _logits(model: nn.Module, data: LabelledImages, settings: FineTuning, place: torch.device) -> NDArray[np.float32]:
    parts = [
        model(_pixels(data.images[start : start + _TEST_BATCH], settings, place)).float().cpu().numpy()
        for start in range(0, len(data), _TEST_BATCH)
    ]
    logits: NDArray[np.float32] = np.concatenate(parts)
    if not np.isfinite(logits).all():
        raise ModelOutputError(
            "The fine-tuning diverges: logits are not finite.",
            hint="Are the model's weights and normalisation sound?",
        )
    return logits


def _check(data: LabelledImages, classes: int, settings: FineTuning, what: str) -> None:
    images, labels = data.images, data.labels
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or len(images) != len(labels):
        raise EvaluationError(
            f"The {what} has {images.dtype} images of shape {list(images.shape)}, {len(labels)} labels."
        )
    if not len(labels):
        raise EvaluationError(f"The {what} is empty.")
    if images.shape[1] != images.shape[2] or images.shape[1] < settings.image_size:
        raise EvaluationError(
            f"The {what} has images of {images.shape[2]} x {images.shape[1]} pixels; {settings.image_size} are needed.",
            hint="Prepare them at the size of the protocol.",
        )
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= classes:
        raise EvaluationError(
            f"The {what} has an image of class {lowest if lowest < 0 else highest}, which is not one of {classes}."
        )
