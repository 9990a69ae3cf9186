"""What all methods share: a backbone, pixels to floats on its device, layers that keep their weights for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from competition.rules.recipes import SelfSupervisedRecipe
from participant_kit.train.objective import Objective

Network = Callable[[torch.Tensor], torch.Tensor]


class SelfSupervised(Objective):
    """The objective of a method, a function of views uint8 [B, S, S, 3]."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, recipe: SelfSupervisedRecipe, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        for name, values in (("mean", recipe.views.mean), ("std", recipe.views.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def model(self) -> nn.Module:
        """The backbone."""
        return self.backbone

    def frozen(self) -> Iterable[nn.Parameter]:
        """Parameters that the step at hand leaves alone, although they have a gradient."""
        return ()

    def save_memory(self) -> None:
        """Gradient checkpointing of the backbone.

        One with batch normalisation stays as it is: its running statistics would count every batch twice.
        """
        if not any(isinstance(layer, _BatchNorm) for layer in self.backbone.modules()):
            self.backbone.set_grad_checkpointing()  # type: ignore[operator]  # of timm

    def pixels(self, *views: torch.Tensor) -> torch.Tensor:
        """Views of one size, one behind the other: float32 [views * B, 3, S, S], channels last, normalised."""
        floats = torch.cat(views).permute(0, 3, 1, 2).float().div(255)
        return floats.sub_(self.mean).div_(self.std)

    def by_size(self, network: Network, views: Sequence[torch.Tensor], full_size: int) -> list[torch.Tensor]:
        """The network's output [B, D] for each view; the first ``full_size`` views, and the smaller ones, together."""
        groups = [group for group in (views[:full_size], views[full_size:]) if group]
        return [output for group in groups for output in network(self.pixels(*group)).chunk(len(group))]
