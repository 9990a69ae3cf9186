"""SwAV (Caron et al. 2020, https://arxiv.org/abs/2006.09882) with SimCore's head and without a queue."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVProjectionHead
from torch import nn
from torch.nn import functional

from competition.rules.recipes import SelfSupervisedRecipe
from competition.rules.recipes.selfsupervised import Swav
from participant_kit.train.distributed import Group
from participant_kit.train.schedules import Span
from participant_kit.train.selfsupervised.backbone import Stream, drawn, width
from participant_kit.train.selfsupervised.method import SelfSupervised
from participant_kit.train.selfsupervised.schedules import is_frozen


class SwavObjective(SelfSupervised):
    """Predicts a view's assignment to prototypes from the other views; assignments are balanced over all processes."""

    def __init__(
        self,
        recipe: SelfSupervisedRecipe,
        method: Swav,
        backbone: nn.Module,
        seed: int,
        group: Group,
        span: Span,
    ) -> None:
        super().__init__(recipe, backbone)
        self._full_size, self._freeze, self._span = recipe.views.count, method.freeze_prototypes, span
        self._step = 0
        with drawn(seed, Stream.HEADS):
            self.projector = SwaVProjectionHead(width(backbone), method.hidden, method.output)
            # The authors' prototypes have no bias, lightly's have one.
            self.prototypes = nn.Linear(method.output, method.prototypes, bias=False)
        self._loss = SwaVLoss(
            method.temperature, method.sinkhorn_iterations, method.epsilon, sinkhorn_gather_distributed=group.world > 1
        )

    def begin_step(self, step: int) -> None:
        """Bring the prototypes to length 1."""
        self._step = step
        with torch.no_grad():
            self.prototypes.weight.copy_(functional.normalize(self.prototypes.weight, dim=1))

    def frozen(self) -> Iterable[nn.Parameter]:
        """The prototypes, in the first epochs."""
        return self.prototypes.parameters() if is_frozen(self._freeze, self._span, self._step) else ()

    def forward(self, *views: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, of the views uint8 [B, S, S, 3]."""
        scores = self.by_size(self._scores, views, self._full_size)
        loss: torch.Tensor = self._loss(scores[: self._full_size], scores[self._full_size :])
        return loss.reshape(())

    def _scores(self, pixels: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.prototypes(functional.normalize(self.projector(self.backbone(pixels)), dim=1))
        return scores
