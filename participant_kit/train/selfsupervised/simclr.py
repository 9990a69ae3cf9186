"""SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709) with SimCore's head."""

from __future__ import annotations

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import nn

from competition.rules.recipes import SelfSupervisedRecipe
from competition.rules.recipes.selfsupervised import SimClr
from participant_kit.train.distributed import Group
from participant_kit.train.selfsupervised.backbone import Stream, drawn, width
from participant_kit.train.selfsupervised.method import SelfSupervised


class SimClrObjective(SelfSupervised):
    """NT-Xent of two views; the other samples of the batch, over all processes, are the negatives."""

    def __init__(
        self, recipe: SelfSupervisedRecipe, method: SimClr, backbone: nn.Module, seed: int, group: Group
    ) -> None:
        super().__init__(recipe, backbone)
        with drawn(seed, Stream.HEADS):
            self.head = SimCLRProjectionHead(width(backbone), method.hidden, method.output, batch_norm=False)
        self._loss = NTXentLoss(method.temperature, gather_distributed=group.world > 1)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, of the views uint8 [B, S, S, 3]."""
        one, other = self.head(self.backbone(self.pixels(first, second))).chunk(2)
        loss: torch.Tensor = self._loss(one, other)
        return loss
