"""The optimiser of a self-supervised recipe."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from competition.rules.recipes.optimizers import ImageOptimizer, Sgd
from participant_kit.train.selfsupervised.method import SelfSupervised


def build_optimizer(options: ImageOptimizer, objective: SelfSupervised) -> torch.optim.Optimizer:
    """SGD or AdamW over all that is trained; it passes over what the objective says is frozen."""
    groups = parameter_groups(objective, options.weight_decay, decay_all=options.decay_all)
    optimizer: torch.optim.Optimizer
    if isinstance(options, Sgd):
        optimizer = torch.optim.SGD(
            groups, lr=options.learning_rate, momentum=options.momentum, nesterov=options.momentum > 0
        )
    else:
        optimizer = torch.optim.AdamW(
            groups,
            lr=options.learning_rate,
            betas=(options.beta1, options.beta2),
            eps=options.epsilon,
            fused=True,
        )

    def pass_over_frozen(*_: object) -> None:
        # Gradients are dropped, as SimCore and the authors do: every step uses the same graph, as DDP wants it.
        for parameter in objective.frozen():
            parameter.grad = None

    optimizer.register_step_pre_hook(pass_over_frozen)
    return optimizer


def parameter_groups(model: nn.Module, weight_decay: float, *, decay_all: bool) -> list[dict[str, Any]]:
    """Trained parameters, in one group or in two: biases and one-dimensional ones are not decayed in the second."""
    decayed: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            undecayed = not decay_all and (parameter.ndim < 2 or name.endswith(".bias"))
            (rest if undecayed else decayed).append(parameter)
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": weight_decay}]
    return [*groups, {"params": rest, "weight_decay": 0.0}] if rest else groups
