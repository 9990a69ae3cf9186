"""What a kind of recipe trains: weights, and how a batch becomes a loss. One generic step advances all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from participant_kit.train.data.loader import Preparation


class Objective(nn.Module, ABC):
    """A loss with everything that it trains or keeps; its state dict is the whole state beside the optimiser's."""

    def begin_step(self, step: int) -> None:
        """Set what follows a schedule of its own, before the forward pass of ``step`` (counted from 0)."""

    def end_step(self, step: int) -> None:
        """Change what no gradient changes (a momentum teacher, a bound), after the optimiser's update."""

    @abstractmethod
    def model(self) -> nn.Module:
        """The part that is submitted: its state dict is ``model.safetensors``."""

    def facts(self) -> Mapping[str, float]:
        """Further columns of the training log."""
        return {}

    def save_memory(self) -> None:
        """Compute activations again in the backward pass, where the model can."""


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a recipe is made of, ready to be trained.

    Args:
        objective: on the CPU, freshly initialised from the seed.
        optimizer: makes the optimiser for the objective, once it is on its device.
        rate: learning rate of a step, counted from 0.
        preparation: of samples.
        apart: see ``data.order.batches``.
        static: every step uses the same parameters in the same way (``static_graph`` of DDP).
        decay: weight decay of a step, counted from 0, of the parameters that are decayed; constant when absent.
        clip: largest norm of the gradient of each parameter.
    """

    objective: Objective
    optimizer: Callable[[], torch.optim.Optimizer]
    rate: Callable[[int], float]
    preparation: Preparation
    apart: bool
    static: bool = True
    decay: Callable[[int], float] | None = None
    clip: float | None = None
