"""The step that advances every kind of recipe: forward, backward, update, on one process or on many."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from competition.rules.recipes import BaseRecipe
from participant_kit.train.batch_norm import synchronise_batch_norm
from participant_kit.train.distributed import Group
from participant_kit.train.objective import Ingredients, Objective

_HALF = {"amp_fp16": torch.float16, "amp_bf16": torch.bfloat16}


class Trainer:
    """Objective and optimiser of one run on this process."""

    def __init__(
        self, ingredients: Ingredients, recipe: BaseRecipe, seed: int, group: Group, *, save_memory: bool = False
    ) -> None:
        self.group, self._seed = group, seed
        self.rate, self._decay, self._clip = ingredients.rate, ingredients.decay, ingredients.clip
        self.objective: Objective = ingredients.objective
        if save_memory:
            self.objective.save_memory()
        synchronise_batch_norm(self.objective, group)
        self.objective.to(group.device).train()
        self.optimizer = ingredients.optimizer()
        self._half = _HALF.get(recipe.precision)
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=recipe.precision == "amp_fp16")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = recipe.tf32
        self._forward: nn.Module = self.objective
        if group.world > 1:
            self._forward = DistributedDataParallel(
                self.objective,
                device_ids=[group.device] if group.device.type == "cuda" else None,
                static_graph=ingredients.static,
                # Running statistics are equal already: batch normalisation is over all processes.
                broadcast_buffers=False,
            )

    def step(self, step: int, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """One optimiser step; returns this process's loss (a detached scalar).

        Args:
            step: counted from 0; sets the learning rate and all randomness, so that a step depends on nothing before
                it but weights and optimiser state.
            inputs: as the recipe's preparation makes them.
        """
        self._seed_step(step)
        self._set_rates(step)
        self.objective.begin_step(step)
        on_device = [tensor.to(self.group.device, non_blocking=True) for tensor in inputs]
        self.optimizer.zero_grad()
        with self._autocast():
            loss: torch.Tensor = self._forward(*on_device)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._clip_gradients()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.objective.end_step(step)
        return loss.detach()

    def is_finite(self) -> bool:
        """Whether every weight and buffer is a number."""
        tensors = self.objective.state_dict().values()
        return all(bool(torch.isfinite(tensor).all()) for tensor in tensors if tensor.is_floating_point())

    def _seed_step(self, step: int) -> None:
        seed = int(np.random.SeedSequence([self._seed, step, self.group.rank]).generate_state(1, np.uint64)[0] >> 1)
        torch.default_generator.manual_seed(seed)
        if self.group.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _set_rates(self, step: int) -> None:
        rate = self.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
            if self._decay is not None and group["weight_decay"]:
                group["weight_decay"] = self._decay(step)

    def _clip_gradients(self) -> None:
        if self._clip is None:
            return
        self.scaler.unscale_(self.optimizer)
        for parameter in self.objective.parameters():
            if parameter.grad is not None:
                nn.utils.clip_grad_norm_(parameter, self._clip)

    def _autocast(self) -> AbstractContextManager[object]:
        if self._half is None:
            return nullcontext()
        return torch.autocast(self.group.device.type, dtype=self._half)
