"""timm's and lightly's own loops, built from the same parts as our recipes; prints samples/s as JSON.

``python training_image_peers.py timm|lightly RECIPE IMAGES WORKERS THREADS``: IMAGES is an image folder. The loops are
those of timm's ``train.py`` (``train_one_epoch``) and of lightly's SimCLR example, without logging and checkpoints.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import timm as untyped_timm
import timm.data
import timm.loss
import timm.optim
import torch
from lightly.loss import NTXentLoss
from lightly.transforms.multi_view_transform import MultiViewTransform
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import (
    ColorJitter,
    Compose,
    Normalize,
    RandomApply,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    ToTensor,
)

from competition.rules import SelfSupervisedRecipe, SupervisedRecipe, find_recipe

_WARM = 5
_TIMM: Any = untyped_timm


def _clocked(batches: Iterator[Any], steps: int, step: Any, batch: int) -> float:
    """Samples/s of the steps behind the first few."""
    start = 0.0
    for number, inputs in zip(range(steps), batches, strict=False):
        if number == _WARM:
            start = time.perf_counter()
        step(inputs)
    return (steps - _WARM) * batch / (time.perf_counter() - start)


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def timm_loop(recipe: SupervisedRecipe, images: str, workers: int, steps: int) -> float:
    """Train on the CPU with timm's loader, mixup, loss and optimiser."""
    options, batch = recipe.augmentation, recipe.global_batch
    dataset = _TIMM.data.create_dataset("", root=images, is_training=True)
    loader = _TIMM.data.create_loader(
        dataset, input_size=(3, recipe.image_size, recipe.image_size),
        batch_size=batch, is_training=True, use_prefetcher=False, no_aug=False, scale=options.scale,
        ratio=options.ratio, hflip=options.horizontal_flip, color_jitter=options.color_jitter or None,
        interpolation=options.interpolation, mean=options.mean, std=options.std, num_workers=workers,
        persistent_workers=workers > 0, device=torch.device("cpu"),
    )  # fmt: skip
    model = _TIMM.create_model(recipe.backbone.name, num_classes=recipe.classes, **recipe.backbone.options).train()
    rate, decay = recipe.optimizer.learning_rate, recipe.optimizer.weight_decay
    optimizer = _TIMM.optim.create_optimizer_v2(
        model, opt=recipe.optimizer.kind, lr=rate, weight_decay=decay, momentum=0.9
    )
    mixup: Any = None
    loss_of: Any = _TIMM.loss.LabelSmoothingCrossEntropy(recipe.label_smoothing)
    if recipe.mixing is not None:
        mixing = recipe.mixing
        mixup = _TIMM.data.Mixup(
            mixing.mixup_alpha, mixing.cutmix_alpha, prob=mixing.probability, switch_prob=mixing.switch_probability,
            label_smoothing=recipe.label_smoothing, num_classes=recipe.classes,
        )  # fmt: skip
        loss_of = _TIMM.loss.SoftTargetCrossEntropy()

    def step(inputs: Any) -> None:
        pixels, target = inputs
        if mixup is not None:
            pixels, target = mixup(pixels, target)
        loss = loss_of(model(pixels), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return _clocked(_endless(loader), steps, step, batch)


def lightly_loop(recipe: SelfSupervisedRecipe, images: str, workers: int, steps: int) -> float:
    """Train SimCLR on the CPU as lightly's example does."""
    views, method, batch = recipe.views, recipe.method, recipe.global_batch
    assert method.method == "simclr"
    parts: list[Any] = [
        RandomResizedCrop(recipe.image_size, scale=views.scale), RandomHorizontalFlip(views.horizontal_flip)
    ]  # fmt: skip
    if views.jitter is not None:
        jitter = ColorJitter(
            views.jitter.brightness, views.jitter.contrast, views.jitter.saturation, views.jitter.hue
        )  # fmt: skip
        parts.append(RandomApply([jitter], views.jitter.probability))
    parts += [RandomGrayscale(views.grayscale), ToTensor(), Normalize(views.mean, views.std)]
    dataset = ImageFolder(images, MultiViewTransform([Compose(parts)] * 2))
    loader = DataLoader(
        dataset, batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )  # fmt: skip
    backbone = _TIMM.create_model(recipe.backbone.name, num_classes=0, **recipe.backbone.options)
    width = int(backbone.num_features)
    head = nn.Sequential(nn.Linear(width, method.hidden), nn.ReLU(), nn.Linear(method.hidden, method.output))
    model, loss_of = nn.Sequential(backbone, head).train(), NTXentLoss(method.temperature)
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.optimizer.learning_rate, momentum=0.9, nesterov=True)

    def step(inputs: Any) -> None:
        (first, second), _ = inputs
        loss = loss_of(model(first), model(second))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return _clocked(_endless(loader), steps, step, batch)


def main(words: list[str]) -> None:
    """Run one of the loops."""
    name, recipe_id, images, workers, threads = words
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    _, recipe = find_recipe(recipe_id)
    steps = recipe.steps_on((1797,))
    if name == "timm":
        assert isinstance(recipe, SupervisedRecipe)
        speed = timm_loop(recipe, images, int(workers), steps)
    else:
        assert isinstance(recipe, SelfSupervisedRecipe)
        speed = lightly_loop(recipe, images, int(workers), steps)
    print(json.dumps({"samples_per_second": speed}))


if __name__ == "__main__":
    main(sys.argv[1:])
