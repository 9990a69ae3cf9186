"""SimSiam (Chen and He 2021, https://arxiv.org/abs/2011.10566) as SimCore runs it: BYOL without a momentum encoder."""

from __future__ import annotations

import torch
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from torch import nn

from competition.rules.recipes import SelfSupervisedRecipe
from competition.rules.recipes.selfsupervised import SimSiam
from participant_kit.train.selfsupervised.backbone import Stream, drawn, width
from participant_kit.train.selfsupervised.byol import SymmetricCosine
from participant_kit.train.selfsupervised.method import SelfSupervised


class SimSiamObjective(SelfSupervised):
    """Predicts the encoder's own projection of the other view, through which no gradient flows."""

    def __init__(self, recipe: SelfSupervisedRecipe, method: SimSiam, backbone: nn.Module, seed: int) -> None:
        super().__init__(recipe, backbone)
        with drawn(seed, Stream.HEADS):
            self.projector = BYOLProjectionHead(width(backbone), method.hidden, method.output)
            self.predictor = BYOLPredictionHead(method.output, method.hidden, method.output)
        self._loss = SymmetricCosine()

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, of the views uint8 [B, S, S, 3]."""
        projections = self.projector(self.backbone(self.pixels(first, second)))
        loss: torch.Tensor = self._loss(self.predictor(projections), projections.detach())
        return loss
