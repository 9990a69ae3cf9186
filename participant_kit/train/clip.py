"""Contrastive training, equal to open_clip's own (``open_clip_train.train.train_one_epoch``, 3.3.0).

Model, loss, optimiser groups, schedule and step are open_clip's; a test compares the weights after steps of both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip import CLIP
from open_clip.loss import ClipLoss

from competition.evaluation.encoders import build_clip, normalise_pixels, tokenizer
from competition.rules.recipes import ClipRecipe, Optimizer
from participant_kit.train.augment import crop_and_resize, crop_boxes
from participant_kit.train.data.decode import decode_pixels
from participant_kit.train.data.loader import Draw
from participant_kit.train.data.samples import CorruptSampleError, Decoded
from participant_kit.train.data.source import RawSample
from participant_kit.train.distributed import Group
from participant_kit.train.objective import Ingredients, Objective

Tokens = NDArray[np.int32]

_MAX_LOGIT_SCALE = math.log(100)
_KNOWN_CAPTIONS = 1_000_000


def clip_ingredients(recipe: ClipRecipe, seed: int, group: Group) -> Ingredients:
    """What a contrastive recipe is made of."""
    objective = ClipObjective(recipe, seed, group)
    options = recipe.optimizer

    def optimizer() -> torch.optim.Optimizer:
        # The fused kernel is the same update up to the last bit or two, several times faster on a CPU.
        return torch.optim.AdamW(
            parameter_groups(objective.clip, options.weight_decay),
            lr=options.learning_rate,
            betas=(options.beta1, options.beta2),
            eps=options.epsilon,
            fused=True,
        )

    return Ingredients(
        objective=objective,
        optimizer=optimizer,
        rate=lambda step: learning_rate(options, step, recipe.steps),
        preparation=ClipPreparation(recipe),
        apart=True,
    )


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


class ClipObjective(Objective):
    """The contrastive loss of images uint8 [B, S, S, 3] and tokens int64 [B, context], over all processes."""

    def __init__(self, recipe: ClipRecipe, seed: int, group: Group) -> None:
        super().__init__()
        self.clip = build_clip(recipe.architecture, seed)
        self._loss = ClipLoss(
            local_loss=group.world > 1, gather_with_grad=group.world > 1, rank=group.rank, world_size=group.world
        )

    def forward(self, pixels: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar."""
        loss: torch.Tensor = self._loss(**self.clip(normalise_pixels(pixels), texts))
        return loss

    def end_step(self, step: int) -> None:  # noqa: ARG002 - the bound is the same at every step
        """Bound the logit scale to ln 100."""
        with torch.no_grad():
            self.clip.logit_scale.clamp_(0, _MAX_LOGIT_SCALE)

    def model(self) -> torch.nn.Module:
        """The CLIP model."""
        model: torch.nn.Module = self.clip
        return model

    def facts(self) -> Mapping[str, float]:
        """The logit scale."""
        return {"logit_scale": float(self.clip.logit_scale.detach().exp())}

    def save_memory(self) -> None:
        """Gradient checkpointing of both towers."""
        self.clip.set_grad_checkpointing()


class ClipPreparation:
    """open_clip's training transform and tokenizer."""

    def __init__(self, recipe: ClipRecipe) -> None:
        self._side, self._scale = recipe.architecture.image_size, recipe.crop_scale
        self._tokenizer = tokenizer(int(recipe.architecture.text["context_length"]))
        self._known: dict[bytes, Tokens] = {}

    def decode(self, raw: RawSample) -> Decoded:
        """Pixels and tokens of a sample (raises ``ImageDecodingError`` or ``CorruptSampleError``)."""
        if raw.image is None:
            raise CorruptSampleError("it has no image")
        return decode_pixels(raw.image), self._tokens(raw.caption)

    def batch(self, samples: Sequence[Decoded], draw: Draw) -> tuple[torch.Tensor, ...]:
        """Images uint8 [B, S, S, 3] and tokens int64 [B, context]."""
        sizes = np.array([pixels.shape[:2] for pixels, _ in samples], dtype=np.int64)
        boxes = crop_boxes(draw, sizes, self._scale)
        images = np.stack(
            [crop_and_resize(pixels, box, self._side) for (pixels, _), box in zip(samples, boxes, strict=True)]
        )
        texts = np.stack([tokens for _, tokens in samples]).astype(np.int64)
        return torch.from_numpy(images), torch.from_numpy(texts)

    def _tokens(self, caption: bytes | None) -> Tokens:
        if caption is None:
            raise CorruptSampleError("it has no caption")
        known = self._known.get(caption)
        if known is None:
            try:
                text = caption.decode("utf-8")
            except UnicodeDecodeError as error:
                raise CorruptSampleError("its caption is not UTF-8") from error
            known = self._tokenizer([text])[0].numpy().astype(np.int32)
            if len(self._known) < _KNOWN_CAPTIONS:
                self._known[caption] = known
        return known
