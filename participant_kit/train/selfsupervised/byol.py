"""BYOL (Grill et al. 2020, https://arxiv.org/abs/2006.07733) as SimCore runs it."""

from __future__ import annotations

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from torch import nn

from competition.rules.recipes import SelfSupervisedRecipe
from competition.rules.recipes.selfsupervised import Byol
from participant_kit.train.schedules import Span
from participant_kit.train.selfsupervised.backbone import Stream, drawn, width
from participant_kit.train.selfsupervised.method import SelfSupervised
from participant_kit.train.selfsupervised.schedules import momentum
from participant_kit.train.selfsupervised.teacher import average, copied


class SymmetricCosine(nn.Module):
    """The sum over both directions of the mean of 2 - 2 cos: from 0 to 8."""

    def __init__(self) -> None:
        super().__init__()
        self._negative_cosine = NegativeCosineSimilarity()

    def forward(self, predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, of [2 * B, D] each: a view's prediction is compared with the other view's target."""
        first, second = predictions.chunk(2)
        of_first, of_second = targets.chunk(2)
        loss: torch.Tensor = 4 + 2 * (self._negative_cosine(first, of_second) + self._negative_cosine(second, of_first))
        return loss


class ByolObjective(SelfSupervised):
    """Predicts what a momentum encoder says of the other view. Both views are normalised as one batch."""

    def __init__(self, recipe: SelfSupervisedRecipe, method: Byol, backbone: nn.Module, seed: int, span: Span) -> None:
        super().__init__(recipe, backbone)
        self._momentum, self._span = method.momentum, span
        with drawn(seed, Stream.HEADS):
            self.projector = BYOLProjectionHead(width(backbone), method.hidden, method.output)
            self.predictor = BYOLPredictionHead(method.output, method.hidden, method.output)
        self.target_backbone, self.target_projector = copied(backbone), copied(self.projector)
        self._loss = SymmetricCosine()

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, of the views uint8 [B, S, S, 3]."""
        pixels = self.pixels(first, second)
        predictions = self.predictor(self.projector(self.backbone(pixels)))
        with torch.no_grad():
            targets = self.target_projector(self.target_backbone(pixels))
        loss: torch.Tensor = self._loss(predictions, targets)
        return loss

    def end_step(self, step: int) -> None:
        """Average the student into the target, running statistics included."""
        weight = momentum(self._momentum, self._span, step)
        average(self.target_backbone, self.backbone, weight, statistics=True)
        average(self.target_projector, self.projector, weight, statistics=True)
