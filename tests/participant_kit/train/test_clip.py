"""Our steps equal those of open_clip_train on the same batches."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from open_clip.loss import ClipLoss
from open_clip.transform import AugmentationCfg, image_transform
from open_clip_train.scheduler import cosine_lr
from open_clip_train.train import train_one_epoch

from competition.evaluation.encoders import build_clip, normalise_pixels, tokenizer
from competition.rules.recipes import ClipRecipe
from participant_kit.train.clip import clip_ingredients, learning_rate
from participant_kit.train.distributed import Group
from participant_kit.train.trainer import Trainer
from tests.participant_kit.train.conftest import make_recipe

STEPS, BATCH = 3, 16


class Loader(list[tuple[torch.Tensor, torch.Tensor]]):
    num_batches = STEPS
    num_samples = STEPS * BATCH


def batches_of(recipe: ClipRecipe) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    size = recipe.architecture.image_size
    pixels = torch.randint(0, 256, (STEPS, BATCH, size, size, 3), generator=generator, dtype=torch.uint8)
    texts = tokenizer(12)([f"the number {number} {'very ' * (number % 5)}" for number in range(STEPS * BATCH)])
    return pixels, texts.view(STEPS, BATCH, -1)


def open_clip_weights(recipe: ClipRecipe, seed: int, *, fused: bool, steps: int = STEPS) -> dict[str, torch.Tensor]:
    """Weights after steps of open_clip_train, set up as its ``main`` does."""
    model = build_clip(recipe.architecture, seed)
    named = list(model.named_parameters())

    def exclude(n: str, p: torch.Tensor) -> bool:
        return p.ndim < 2 or "bn" in n or "ln" in n or "bias" in n or "logit_scale" in n

    o = recipe.optimizer
    groups = [
        {"params": [p for n, p in named if exclude(n, p)], "weight_decay": 0.0},
        {"params": [p for n, p in named if not exclude(n, p)], "weight_decay": o.weight_decay},
    ]
    optimizer = torch.optim.AdamW(groups, lr=o.learning_rate, betas=(o.beta1, o.beta2), eps=o.epsilon, fused=fused)
    pixels, texts = batches_of(recipe)
    loader = Loader((normalise_pixels(pixels[step]), texts[step]) for step in range(steps))
    args = SimpleNamespace(
        device="cpu", precision=recipe.precision, distill=False, accum_freq=1, skip_scheduler=False, horovod=False,
        grad_clip_norm=None, rank=0, local_rank=0, log_local=False, log_every_n_steps=100, batch_size=BATCH,
        world_size=1, wandb=False,
    )  # fmt: skip
    data = {"train": SimpleNamespace(dataloader=loader, set_epoch=lambda epoch: None)}
    schedule = cosine_lr(optimizer, o.learning_rate, o.warmup_steps, recipe.steps)
    train_one_epoch(model, data, ClipLoss(), 0, optimizer, None, schedule, None, args)
    return model.state_dict()


def our_weights(recipe: ClipRecipe, seed: int, steps: int = STEPS) -> dict[str, torch.Tensor]:
    group = Group(0, 1, torch.device("cpu"))
    trainer = Trainer(clip_ingredients(recipe, seed, group), recipe, seed, group)
    pixels, texts = batches_of(recipe)
    for step in range(steps):
        trainer.step(step, (pixels[step], texts[step]))
    return trainer.objective.model().state_dict()


@pytest.mark.parametrize("precision", ["fp32", "amp_bf16"])
def test_steps_equal_open_clips_bit_for_bit_with_the_same_kernel(precision: str) -> None:
    recipe = make_recipe(precision=precision)
    theirs, ours = open_clip_weights(recipe, 5, fused=True), our_weights(recipe, 5)
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_a_step_equals_open_clips_default_optimiser_within_rounding() -> None:
    recipe = make_recipe()
    theirs, ours = open_clip_weights(recipe, 5, fused=False, steps=1), our_weights(recipe, 5, steps=1)
    assert max(float((theirs[name] - ours[name]).abs().max()) for name in theirs) < 1e-6


def test_schedule_equals_open_clips() -> None:
    recipe = make_recipe(steps=50)
    group: dict[str, float] = {}
    schedule = cosine_lr(SimpleNamespace(param_groups=[group]), recipe.optimizer.learning_rate, 2, recipe.steps)
    for step in range(recipe.steps):
        assert schedule(step) == learning_rate(recipe.optimizer, step, recipe.steps)


def test_pixels_are_normalised_as_open_clips_transform_does() -> None:
    normalise = image_transform(16, is_train=True, aug_cfg=AugmentationCfg(scale=(0.9, 1.0))).transforms[-1]
    pixels = torch.randint(0, 256, (4, 16, 16, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    expected = torch.stack([normalise(image.permute(2, 0, 1).contiguous().float().div(255)) for image in pixels])
    assert torch.equal(normalise_pixels(pixels), expected)


def test_initial_weights_leave_the_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = (build_clip(make_recipe().architecture, 7).state_dict() for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
