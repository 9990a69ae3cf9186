"""Many linear classifiers trained at once, by the same batches.

A search trains the same small classifier again and again with other hyper-parameters. With features at hand one such
training is mostly overhead. Here the classifiers of many candidates are rows of one matrix: a step of all of them is
two products, and each is what it would be alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from competition.evaluation.features import LabelledFeatures

_ALIGNED = 16
_ROWS_AT_A_TIME = 4096
_STEPS_AT_A_TIME = 128
_NORM_MOMENTUM = 0.1
_NORM_EPSILON = 1e-5
_ADAM_BETAS = (0.9, 0.999)
_ADAM_EPSILON = 1e-8

Predictions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Hyper-parameters of one classifier. The weight decay is coupled (L2) with SGD and decoupled with AdamW."""

    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, slots=True)
class HeadTraining:
    """How classifiers are trained.

    The loss is cross entropy; where images show several classes it is that of each class by itself, and their mean.

    Args:
        epochs: over the training set, in an order drawn for each; a last, smaller batch counts.
        batch: images a step.
        optimizer: of all weights and biases.
        momentum: of SGD.
        nesterov: SGD's variant of it.
        schedule: of the learning rate: constant, half a cosine over all steps, or a tenth from each milestone on.
        milestones: epochs, counted from 0.
        normalised: features pass a batch normalisation without scale and shift first; batches of one are left out.
    """

    epochs: int
    batch: int
    optimizer: Literal["sgd", "adamw"]
    momentum: float = 0.9
    nesterov: bool = False
    schedule: Literal["constant", "cosine", "milestones"] = "constant"
    milestones: tuple[int, ...] = ()
    normalised: bool = False

    def rate_factor(self, epoch: int, step: int, steps: int) -> float:
        """The learning rate's, at a step of all ``steps``."""
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / steps))
        if self.schedule == "milestones":
            return math.prod(0.1 for milestone in self.milestones if epoch >= milestone)
        return 1.0


def train_heads(
    views: Sequence[LabelledFeatures],
    classes: int,
    candidates: Sequence[Candidate],
    training: HeadTraining,
    *,
    initial: NDArray[np.float32] | None = None,
    seed: int = 0,
    device: torch.device | None = None,
) -> Iterator[Heads]:
    """Train a classifier of each candidate; yields the same object after every epoch.

    Args:
        views: of the same images in the same order, one an epoch in turn (features of augmented images are others);
            each is asked for when its epoch begins, and again only where there are several.
        classes: how many there are.
        candidates: one classifier each.
        training: how.
        initial: weights [classes, D] to start from, with biases of 0; drawn when absent, as PyTorch's ``Linear`` does.
        seed: of the weights and of the order of images, the same for each candidate.
        device: that computes; the CPU when absent.
    """
    place = device or torch.device("cpu")
    generator = torch.Generator().manual_seed(seed)
    view = views[0]
    heads = Heads(view.features.shape[1], classes, candidates, training, place)
    heads.start(initial, generator)
    labels = torch.from_numpy(np.array(view.labels, dtype=np.float32 if view.several else np.int64)).to(place)
    steps_an_epoch = math.ceil(len(labels) / training.batch)
    rows = torch.empty(0)
    for epoch in range(training.epochs):
        if epoch == 0 or len(views) > 1:
            view = views[epoch % len(views)] if epoch else view
            rows = torch.from_numpy(np.array(view.features, dtype=np.float32)).to(place)
        order = torch.randperm(len(labels), generator=generator).to(place)
        step = epoch * steps_an_epoch
        for group in torch.split(order, training.batch * _STEPS_AT_A_TIME):
            inputs, targets = heads.inputs(rows[group]), labels[group]
            for batch, right in zip(
                torch.split(inputs, training.batch), torch.split(targets, training.batch), strict=True
            ):
                if not (training.normalised and len(batch) == 1):
                    heads.step(batch, right, training.rate_factor(epoch, step, training.epochs * steps_an_epoch))
                step += 1
        heads.drop_diverged()
        yield heads


class Heads:
    """The classifiers of the candidates that have not diverged.

    ``alive`` are their positions among the candidates. What is no number stays none, so those that diverged are left
    out from then on.
    """

    def __init__(
        self,
        dimensions: int,
        classes: int,
        candidates: Sequence[Candidate],
        training: HeadTraining,
        place: torch.device,
    ) -> None:
        self.alive = tuple(range(len(candidates)))
        self._dimensions, self._classes, self._training, self._place = dimensions, classes, training, place
        width = math.ceil((dimensions + 1) / _ALIGNED) * _ALIGNED  # one more for the bias; the rest stays 0
        self._weights = torch.zeros((len(candidates) * classes, width), device=place)
        self._moments = [torch.zeros_like(self._weights) for _ in range(1 if training.optimizer == "sgd" else 2)]
        rates = torch.tensor([[c.learning_rate, c.weight_decay] for c in candidates], dtype=torch.float64)
        rows = rates.repeat_interleave(classes, dim=0).float().to(place)
        self._rates, self._decays = rows[:, :1], rows[:, 1:]
        self._steps = 0
        self._mean, self._variance = torch.zeros(dimensions, device=place), torch.ones(dimensions, device=place)

    def start(self, initial: NDArray[np.float32] | None, generator: torch.Generator) -> None:
        """Set the weights of all to the same ones."""
        if initial is None:
            bound = 1 / math.sqrt(self._dimensions)
            drawn = torch.rand((self._classes, self._dimensions + 1), generator=generator) * (2 * bound) - bound
        else:
            drawn = torch.zeros((self._classes, self._dimensions + 1))
            drawn[:, :-1] = torch.from_numpy(np.array(initial, dtype=np.float32))
        self._weights[:, : self._dimensions + 1] = drawn.to(self._place).repeat(len(self.alive), 1)

    @torch.no_grad()
    def inputs(self, features: torch.Tensor) -> torch.Tensor:
        """What steps take, of the features [N, D] of consecutive batches, each normalised by itself, all at once."""
        rows = self._widened(features)
        if self._training.normalised:
            size, dimensions = self._training.batch, self._dimensions
            whole = len(features) // size * size
            for part, count in ((rows[:whole], size), (rows[whole:], len(features) - whole)):
                if len(part) and count > 1:
                    self._normalise_batches(part.view(-1, count, part.shape[1])[:, :, :dimensions])
        return rows

    @torch.no_grad()
    def step(self, rows: torch.Tensor, labels: torch.Tensor, rate_factor: float) -> None:
        """One update of all by a batch: of ``inputs``, and int64 [B] or float32 [B, C] of 0 and 1."""
        if not self.alive:
            return
        # With images beside each other a softmax over a handful of classes takes a tenth of the time.
        logits = (self._weights @ rows.T).view(len(self.alive), self._classes, len(rows))
        if labels.ndim == 2:
            slopes = logits.sigmoid_().sub_(labels.T).div_(self._classes)
        else:
            slopes = logits.softmax(dim=1)
            right = labels.expand(len(self.alive), 1, -1)
            slopes.scatter_add_(1, right, slopes.new_full((), -1.0).expand_as(right))
        slopes = slopes.flatten(0, 1)
        self._steps += 1
        if self._training.optimizer == "sgd":
            self._update_sgd(slopes, rows, rate_factor)
        else:
            self._update_adamw(slopes, rows, rate_factor)

    def _update_sgd(self, slopes: torch.Tensor, rows: torch.Tensor, rate_factor: float) -> None:
        momentum, (velocity,) = self._training.momentum, self._moments
        if not self._training.nesterov:
            velocity.addmm_(slopes, rows, beta=momentum, alpha=1 / len(rows)).addcmul_(self._weights, self._decays)
            self._weights.addcmul_(velocity, self._rates, value=-rate_factor)
            return
        gradient = (slopes @ rows).div_(len(rows)).addcmul_(self._weights, self._decays)
        velocity.mul_(momentum).add_(gradient)
        self._weights.addcmul_(gradient.add_(velocity, alpha=momentum), self._rates, value=-rate_factor)

    def _update_adamw(self, slopes: torch.Tensor, rows: torch.Tensor, rate_factor: float) -> None:
        (first, second), (beta1, beta2) = self._moments, _ADAM_BETAS
        gradient = (slopes @ rows).div_(len(rows))
        self._weights.mul_(1 - rate_factor * self._rates * self._decays)
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        scale = second.sqrt().div_(math.sqrt(1 - beta2**self._steps)).add_(_ADAM_EPSILON)
        self._weights.addcmul_(first.div(scale), self._rates, value=-rate_factor / (1 - beta1**self._steps))

    @torch.no_grad()
    def drop_diverged(self) -> None:
        """Leave out classifiers with a weight that is no finite number."""
        shape = (len(self.alive), self._classes, self._weights.shape[1])
        finite = torch.isfinite(self._weights.view(*shape)).all(dim=2).all(dim=1)
        if bool(finite.all()):
            return
        self.alive = tuple(position for position, kept in zip(self.alive, finite.tolist(), strict=True) if kept)
        rows = finite.repeat_interleave(self._classes)
        self._weights, self._rates, self._decays = self._weights[rows], self._rates[rows], self._decays[rows]
        self._moments = [moment[rows] for moment in self._moments]

    @torch.no_grad()
    def logits(self, features: NDArray[np.float32]) -> Iterator[torch.Tensor]:
        """Logits [rows, alive, classes] of features [N, D], some rows after the others."""
        for rows in self._rows(features):
            yield (self._widened(rows) @ self._weights.T).view(len(rows), len(self.alive), self._classes)

    def predictions(self, features: NDArray[np.float32]) -> Predictions:
        """The class of greatest logit [alive, N], of equal ones the first."""
        parts = []
        for rows in self._rows(features):
            logits = (self._weights @ self._widened(rows).T).view(len(self.alive), self._classes, len(rows))
            parts.append(logits.argmax(dim=1))
        return np.asarray(torch.cat(parts, dim=1).cpu().numpy(), dtype=np.int64)

    def _rows(self, features: NDArray[np.float32]) -> Iterator[torch.Tensor]:
        """Features on the device, normalised as after the training, some rows after the others."""
        step = max(1, _ROWS_AT_A_TIME // max(1, len(self.alive)))
        for start in range(0, len(features), step):
            rows = torch.from_numpy(np.array(features[start : start + step], dtype=np.float32)).to(self._place)
            if self._training.normalised:
                rows = (rows - self._mean) / torch.sqrt(self._variance + _NORM_EPSILON)
            yield rows

    def _normalise_batches(self, batches: torch.Tensor) -> None:
        """Each of [batches, B, D] in place by its own mean and variance; running ones follow in their order."""
        size = batches.shape[1]
        means = batches.mean(dim=1)
        batches.sub_(means[:, None])
        variances = batches.square().mean(dim=1)  # five times as fast as `var_mean`
        batches.div_(torch.sqrt(variances[:, None] + _NORM_EPSILON))
        kept = (1 - _NORM_MOMENTUM) ** torch.arange(len(batches), -1, -1, device=self._place)
        shares = _NORM_MOMENTUM * kept[1:]
        self._mean = kept[0] * self._mean + shares @ means
        self._variance = kept[0] * self._variance + shares @ (variances * (size / (size - 1)))

    def _widened(self, features: torch.Tensor) -> torch.Tensor:
        rows = features.new_empty((len(features), self._weights.shape[1]))
        rows[:, : self._dimensions] = features
        rows[:, self._dimensions :] = 0
        rows[:, self._dimensions] = 1
        return rows
