"""Supervised classification, equal to timm's training script (SELECT's recipe) step by step.

Model, augmentation, mixing, loss, optimiser groups and schedule are timm's; tests compare weights and rates. Two things
differ from its script, both so that a step depends on nothing before it: randomness belongs to (seed, step, sample),
and images are mixed after they are normalised, as the script does without its prefetcher.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.mixup import Mixup
from timm.data.transforms_factory import create_transform
from timm.loss.cross_entropy import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.optim._optim_factory import create_optimizer_v2
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from competition.errors import TrainingError
from competition.evaluation.image_models import build_image_model
from competition.rules.recipes import SupervisedRecipe
from competition.rules.recipes.optimizers import AdamW, ImageOptimizer
from participant_kit.train.data.decode import decode_pixels
from participant_kit.train.data.loader import Draw
from participant_kit.train.data.samples import CorruptSampleError, Decoded
from participant_kit.train.data.source import RawSample, TrainingSet
from participant_kit.train.global_random import kept_states, seed_states, seeded_numpy
from participant_kit.train.objective import Ingredients, Objective
from participant_kit.train.schedules import Span, cosine_decay, cosine_rate

_AUGMENT_STREAM, _MIXING_STREAM = 6, 7
_LOOKED_AT = 16


def supervised_ingredients(recipe: SupervisedRecipe, data: TrainingSet, seed: int) -> Ingredients:
    """What a supervised recipe is made of.

    Raises:
        TrainingError: the data have no labels, or the installed timm cannot build the backbone.
    """
    _require_labels(data)
    # Convolutions are up to twice as fast with the channels of a pixel beside each other.
    objective = SupervisedObjective(recipe, seed).to(memory_format=torch.channels_last)
    options, span = recipe.optimizer, Span.of(recipe, data.sizes)
    return Ingredients(
        objective=objective,
        optimizer=lambda: image_optimizer(objective.classifier, options),
        rate=cosine_rate(recipe.schedule, options.learning_rate, span),
        preparation=SupervisedPreparation(recipe),
        apart=False,
        decay=cosine_decay(options, recipe.schedule, span),
        clip=options.clip if isinstance(options, AdamW) else None,
    )


def image_optimizer(model: nn.Module, options: ImageOptimizer) -> torch.optim.Optimizer:
    """The optimiser that timm's factory makes; "sgd" there has Nesterov momentum."""
    further: dict[str, Any] = (
        {"momentum": options.momentum}
        if options.kind == "sgd"
        else {"betas": (options.beta1, options.beta2), "eps": options.epsilon}
    )
    return create_optimizer_v2(
        model,
        opt=options.kind,
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
        filter_bias_and_bn=not options.decay_all,
        **further,
    )


def _require_labels(data: TrainingSet) -> None:
    first = range(min(len(data), _LOOKED_AT))
    if all(data.read(index).label is None for index in first):
        raise TrainingError(
            f"The recipe needs labels, and none of the first {len(first)} samples has one.",
            hint="Give the table that `datacup label` wrote as --labels, or shards with `cls` members.",
        )


class SupervisedObjective(Objective):
    """The classification loss of images uint8 [B, 3, S, S] and class numbers int64 [B].

    With mixing, a sample is mixed with the one at the mirrored place of its process's share of the batch; all processes
    use the same weight and the same box, which are functions of (seed, step). So pairs depend on the number of
    processes, and nothing else does.
    """

    _mean: torch.Tensor
    _std: torch.Tensor

    def __init__(self, recipe: SupervisedRecipe, seed: int) -> None:
        super().__init__()
        self.classifier = build_image_model(recipe.backbone, recipe.classes, seed)
        self._mixup = _mixup(recipe)
        self._loss = _loss(recipe, mixes=self._mixup is not None)
        self._seed, self._step = seed, 0
        for name, values in (("_mean", recipe.augmentation.mean), ("_std", recipe.augmentation.std)):
            scaled = torch.tensor([value * 255 for value in values]).view(1, 3, 1, 1)
            self.register_buffer(name, scaled, persistent=False)

    def begin_step(self, step: int) -> None:
        """Remember the step: mixing follows from it."""
        self._step = step

    def forward(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar (raises ``TrainingError`` where an odd number of samples should be mixed)."""
        # As timm's PrefetchLoader does it.
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        images, targets = pixels.float().sub_(self._mean).div_(self._std), labels
        if self._mixup is not None:
            if len(images) % 2:
                raise TrainingError(
                    f"A process has {len(images)} samples of each batch, which cannot be mixed in pairs.",
                    hint="Start a number of processes that leaves an even number to each.",
                )
            with seeded_numpy([self._seed, _MIXING_STREAM, self._step]):
                images, targets = self._mixup(images, targets)
        loss: torch.Tensor = self._loss(self.classifier(images), targets)
        return loss

    def model(self) -> nn.Module:
        """The timm model."""
        return self.classifier

    def save_memory(self) -> None:
        """Gradient checkpointing, but for models with batch normalisation: a second pass would count twice there."""
        normalised = any(isinstance(module, _BatchNorm) for module in self.classifier.modules())
        enable = getattr(self.classifier, "set_grad_checkpointing", None)
        if enable is not None and not normalised:
            enable()


def _mixup(recipe: SupervisedRecipe) -> Mixup | None:
    mixing = recipe.mixing
    if mixing is None or not (mixing.mixup_alpha or mixing.cutmix_alpha):
        return None
    return Mixup(  # type: ignore[no-untyped-call]
        mixup_alpha=mixing.mixup_alpha,
        cutmix_alpha=mixing.cutmix_alpha,
        prob=mixing.probability,
        switch_prob=mixing.switch_probability,
        label_smoothing=recipe.label_smoothing,
        num_classes=recipe.classes,
    )


def _loss(recipe: SupervisedRecipe, *, mixes: bool) -> nn.Module:
    if mixes:
        return SoftTargetCrossEntropy()  # type: ignore[no-untyped-call]
    if recipe.label_smoothing:
        return LabelSmoothingCrossEntropy(recipe.label_smoothing)  # type: ignore[no-untyped-call]
    return nn.CrossEntropyLoss()


class SupervisedPreparation:
    """timm's training transform, seeded for every sample by its place in the batch."""

    def __init__(self, recipe: SupervisedRecipe) -> None:
        options = recipe.augmentation
        self._classes = recipe.classes
        self._transform = create_transform(
            (3, recipe.image_size, recipe.image_size),
            is_training=True,
            use_prefetcher=True,  # ends with uint8; the device normalises
            scale=options.scale,
            ratio=options.ratio,
            hflip=options.horizontal_flip,
            color_jitter=options.color_jitter,
            interpolation=options.interpolation,
        )

    def decode(self, raw: RawSample) -> Decoded:
        """Pixels and class number of a sample (raises ``ImageDecodingError`` or ``CorruptSampleError``)."""
        if raw.image is None:
            raise CorruptSampleError("it has no image")
        if raw.label is None:
            raise CorruptSampleError("it has no label")
        if not 0 <= raw.label < self._classes:
            raise CorruptSampleError(
                f"its label is {raw.label}, and the recipe's {self._classes} classes are counted from 0"
            )
        return decode_pixels(raw.image), raw.label

    def batch(self, samples: Sequence[Decoded], draw: Draw) -> tuple[torch.Tensor, ...]:
        """Images uint8 [B, 3, S, S] and class numbers int64 [B]."""
        generator = np.random.default_rng([draw.seed, _AUGMENT_STREAM, draw.step])
        seeds = generator.integers(2**63, size=(draw.batch, 2))[draw.first : draw.first + len(samples)]
        images = []
        with kept_states():
            for (pixels, _), (python, torch_seed) in zip(samples, seeds.tolist(), strict=True):
                seed_states(python, torch_seed)
                images.append(self._transform(Image.fromarray(pixels)))
        return torch.stack(images), torch.tensor([label for _, label in samples], dtype=torch.int64)
