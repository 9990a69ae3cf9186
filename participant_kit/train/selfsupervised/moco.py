"""MoCo (He et al. 2020, https://arxiv.org/abs/1911.05722) with SimCore's linear projection and without shuffling."""

from __future__ import annotations

import torch
from lightly.loss import NTXentLoss
from torch import nn

from competition.rules.recipes import SelfSupervisedRecipe
from competition.rules.recipes.selfsupervised import Moco
from participant_kit.train.distributed import Group
from participant_kit.train.schedules import Span
from participant_kit.train.selfsupervised.backbone import Stream, drawn, width
from participant_kit.train.selfsupervised.method import SelfSupervised
from participant_kit.train.selfsupervised.schedules import momentum
from participant_kit.train.selfsupervised.teacher import average, copied


class MocoObjective(SelfSupervised):
    """A query finds its key among the keys of earlier batches, kept in a queue that all processes fill."""

    def __init__(
        self,
        recipe: SelfSupervisedRecipe,
        method: Moco,
        backbone: nn.Module,
        seed: int,
        group: Group,
        span: Span,
    ) -> None:
        super().__init__(recipe, backbone)
        self._momentum, self._span = method.momentum, span
        with drawn(seed, Stream.HEADS):
            self.head = nn.Linear(width(backbone), method.output)
            self._loss = NTXentLoss(method.temperature, (method.queue, method.output), group.world > 1)
        bank = self._loss.memory_bank
        for name in ("bank", "bank_ptr"):  # lightly leaves them out of the state, and a resumed run needs them
            bank.register_buffer(name, getattr(bank, name), persistent=True)
        self.key_backbone, self.key_head = copied(backbone), copied(self.head)

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, of the views uint8 [B, S, S, 3]; the keys enter the queue after they were used."""
        queries = self.head(self.backbone(self.pixels(query)))
        with torch.no_grad():
            keys = self.key_head(self.key_backbone(self.pixels(key)))
        loss: torch.Tensor = self._loss(queries, keys)
        return loss

    def end_step(self, step: int) -> None:
        """Average the student into the encoder of keys (whose running statistics are its own)."""
        weight = momentum(self._momentum, self._span, step)
        average(self.key_backbone, self.backbone, weight)
        average(self.key_head, self.head, weight)
