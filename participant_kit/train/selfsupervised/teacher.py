"""A momentum teacher: a copy of the student that no gradient reaches, averaged with it after every step."""

from __future__ import annotations

import copy

import torch
from torch import nn


def copied(student: nn.Module) -> nn.Module:
    """A copy that is not trained."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def average(teacher: nn.Module, student: nn.Module, momentum: float, *, statistics: bool = False) -> None:
    """teacher <- momentum * teacher + (1 - momentum) * student.

    Args:
        teacher: with the student's parameters, in the student's order.
        student: what the teacher follows.
        momentum: weight of the old teacher.
        statistics: average running statistics of batch normalisation, too; counters are the same in both.
    """
    ours: list[torch.Tensor] = list(teacher.parameters())
    theirs: list[torch.Tensor] = list(student.parameters())
    if statistics:
        ours += [buffer for buffer in teacher.buffers() if buffer.is_floating_point()]
        theirs += [buffer for buffer in student.buffers() if buffer.is_floating_point()]
    torch._foreach_lerp_(ours, theirs, 1 - momentum)
