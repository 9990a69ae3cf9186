"""The contrastive training step, equal to open_clip's own (``open_clip_train.train.train_one_epoch``, 3.3.0).

Model, loss, optimiser groups, schedule and step are open_clip's; a test compares the weights after a step of both.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from open_clip import CLIP
from open_clip.loss import ClipLoss

from competition.evaluation.encoders import build_clip, normalise_pixels
from competition.rules.recipes import ClipRecipe, Optimizer

_MAX_LOGIT_SCALE = math.log(100)


def learning_rate(optimizer: Optimizer, step: int, steps: int) -> float:
    """Rate of a step (counted from 0): linear warm-up, then a cosine that would reach zero at ``steps``."""
    warmup = optimizer.warmup_steps
    if step < warmup:
        return optimizer.learning_rate * (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) * optimizer.learning_rate


def parameter_groups(model: CLIP, weight_decay: float) -> list[dict[str, object]]:
    """open_clip's two groups: gains, biases and the logit scale are not decayed, everything else is."""
    gains_and_biases: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        undecayed = parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
        (gains_and_biases if undecayed else rest).append(parameter)
    return [{"params": gains_and_biases, "weight_decay": 0.0}, {"params": rest, "weight_decay": weight_decay}]


class ClipTrainer:
    """Model and optimiser of one run, and the step that advances them."""

    def __init__(self, recipe: ClipRecipe, seed: int, device: torch.device) -> None:
        self.recipe = recipe
        self.device = device
        self.model = build_clip(recipe.architecture, seed).to(device).train()
        options = recipe.optimizer
        # The fused kernel is the same update up to the last bit or two, several times faster on a CPU.
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, options.weight_decay),
            lr=options.learning_rate,
            betas=(options.beta1, options.beta2),
            eps=options.epsilon,
            fused=True,
        )
        self._loss = ClipLoss()

    def step(self, step: int, pixels: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """One optimiser step; returns the loss (a detached scalar).

        Args:
            step: counted from 0; sets the learning rate.
            pixels: uint8 [B, S, S, 3], augmented.
            texts: int64 tokens [B, context].
        """
        rate = learning_rate(self.recipe.optimizer, step, self.recipe.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        images = normalise_pixels(pixels.to(self.device, non_blocking=True))
        texts = texts.to(self.device, non_blocking=True)
        self.optimizer.zero_grad()
        with self._autocast():
            loss: torch.Tensor = self._loss(**self.model(images, texts))
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, _MAX_LOGIT_SCALE)
        return loss.detach()

    def is_finite(self) -> bool:
        """Whether every weight is a number."""
        with torch.no_grad():
            return all(bool(torch.isfinite(parameter).all()) for parameter in self.model.parameters())

    def _autocast(self) -> AbstractContextManager[object]:
        if self.recipe.precision == "amp_bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()
