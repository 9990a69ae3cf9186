"""Batch normalisation over the whole batch of all processes, so that training does not depend on their number.

torch's own ``SyncBatchNorm`` does this on GPUs only; on a CPU the sums are exchanged here.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from participant_kit.train.distributed import Group


def synchronise_batch_norm(module: nn.Module, group: Group) -> None:
    """Make the batch normalisations within ``module`` see the samples of all processes."""
    if group.world == 1:
        return
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
            setattr(module, name, _synchronised(child, group))
        else:
            synchronise_batch_norm(child, group)


def _synchronised(layer: _BatchNorm, group: Group) -> nn.Module:
    if group.device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(layer)  # type: ignore[no-untyped-call]
        return converted
    # The class alone is changed: layers of timm have an activation after the norm in a class of their own.
    mixed = type(f"Synchronised{type(layer).__name__}", (_OverProcesses, type(layer)), {})
    layer.__class__ = mixed
    return layer


class _OverProcesses(_BatchNorm):
    """``_BatchNorm.forward`` with mean and variance of the samples of all processes."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        if not self.training:
            return super().forward(input)
        values = input.float()
        axes = [axis for axis in range(input.ndim) if axis != 1]
        count = torch.full((1,), values.numel() / values.shape[1])
        sums = all_reduce(torch.cat([values.sum(axes), values.square().sum(axes), count]))  # type: ignore[no-untyped-call]
        total, square, number = sums.split([values.shape[1], values.shape[1], 1])
        mean = total / number
        variance = square / number - mean.square()
        self._remember(mean.detach(), variance.detach(), float(number))
        shape = [1, -1, *[1] * (input.ndim - 2)]
        output: torch.Tensor = (values - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            output = output * self.weight.view(shape) + self.bias.view(shape)
        output = output.to(input.dtype)
        for name in ("drop", "act"):  # of timm's norms that come with an activation
            if isinstance(layer := getattr(self, name, None), nn.Module):
                output = layer(output)
        return output

    def _remember(self, mean: torch.Tensor, variance: torch.Tensor, number: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        weight = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance * number / max(1.0, number - 1), weight)
