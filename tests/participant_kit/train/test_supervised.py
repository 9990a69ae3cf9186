"""Supervised training equals timm's, depends on nothing but data, recipe, seed and step, and learns digits."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.data import Mixup, create_transform
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler

from competition.data.shards import Sample
from competition.errors import TrainingError
from competition.evaluation.image_models import build_image_model
from competition.progress import Progress
from competition.records.training import TrainingReport
from competition.rules.recipes import Backbone, SupervisedRecipe
from competition.rules.recipes.optimizers import Cosine
from participant_kit.train.data.loader import Draw
from participant_kit.train.data.samples import CorruptSampleError
from participant_kit.train.data.source import RawSample
from participant_kit.train.distributed import join
from participant_kit.train.objective import Ingredients
from participant_kit.train.schedules import Span, cosine_rate
from participant_kit.train.supervised import (
    SupervisedObjective,
    SupervisedPreparation,
    image_optimizer,
)
from participant_kit.train.trainer import Trainer
from tests.participant_kit.train.conftest import MakeShards, make_sample, train_on

STEPS, BATCH, SIDE, CLASSES = 4, 8, 32, 5
MIXING = {"mixup_alpha": 0.2, "cutmix_alpha": 1.0}
SGD = {"kind": "sgd", "learning_rate": 0.1, "weight_decay": 0.01}
ADAMW = {"kind": "adamw", "learning_rate": 0.01, "weight_decay": 0.05, "epsilon": 1e-6}
RESNET = {"name": "resnet18", "options": {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16)}}


def make_supervised(**changes: object) -> SupervisedRecipe:
    """A tiny recipe of four steps of eight samples."""
    values: dict[str, object] = {
        "kind": "supervised",
        "id": "tiny-supervised",
        "backbone": RESNET,
        "classes": CLASSES,
        "image_size": SIDE,
        "global_batch": BATCH,
        "budget": {"kind": "samples", "samples": STEPS * BATCH},
        "optimizer": SGD,
        "label_smoothing": 0.1,
        "mixing": MIXING,
    }
    return SupervisedRecipe.model_validate(values | changes)


def labelled_samples(count: int = 30) -> list[Sample]:
    """Coloured squares whose colour is their class."""
    made = [make_sample(number) for number in range(count)]
    return [Sample(each.key, {**each.members, "cls": str(place % 4).encode()}) for place, each in enumerate(made)]


def inputs(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    pixels = torch.randint(0, 256, (BATCH, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    return pixels, torch.randint(0, CLASSES, (BATCH,), generator=generator)


def timm_weights(recipe: SupervisedRecipe, seed: int, samples: int) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Weights and losses of timm's script with ``--channels-last``, for one epoch a step of ``samples`` = BATCH."""
    model, options = build_image_model(recipe.backbone, CLASSES, seed).train(), recipe.optimizer
    model = model.to(memory_format=torch.channels_last)
    further: dict[str, Any] = (
        {"momentum": 0.9} if options.kind == "sgd" else {"betas": (0.9, 0.999), "eps": options.epsilon}
    )
    optimizer = create_optimizer_v2(
        model, opt=options.kind, lr=options.learning_rate, weight_decay=options.weight_decay,
        filter_bias_and_bn=not options.decay_all, **further,
    )  # fmt: skip
    scheduler = CosineLRScheduler(optimizer, t_initial=STEPS * BATCH // samples, warmup_t=1, warmup_lr_init=1e-6)
    mixup = None
    loss_of: torch.nn.Module = LabelSmoothingCrossEntropy(recipe.label_smoothing)
    if recipe.mixing is not None:
        mixup = Mixup(0.2, 1.0, prob=1.0, switch_prob=0.5, label_smoothing=recipe.label_smoothing, num_classes=CLASSES)
        loss_of = SoftTargetCrossEntropy()
    elif not recipe.label_smoothing:
        loss_of = torch.nn.CrossEntropyLoss()
    mean, std = (
        torch.tensor([value * 255 for value in values]).view(1, 3, 1, 1)
        for values in (recipe.augmentation.mean, recipe.augmentation.std)
    )
    losses = []
    for step in range(STEPS):
        scheduler.step(step * BATCH // samples)
        pixels, target = inputs(step)
        images = pixels.contiguous(memory_format=torch.channels_last).float().sub_(mean).div_(std)
        if mixup is not None:
            state = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, 7, step]))).get_state()
            np.random.set_state(state)  # noqa: NPY002 - what timm's Mixup draws from
            images, target = mixup(images, target)
        optimizer.zero_grad()
        loss = loss_of(model(images), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.state_dict(), losses


def our_weights(recipe: SupervisedRecipe, seed: int, samples: int) -> tuple[dict[str, torch.Tensor], list[float]]:
    objective = SupervisedObjective(recipe, seed).to(memory_format=torch.channels_last)
    ingredients = Ingredients(
        objective=objective,
        optimizer=lambda: image_optimizer(objective.classifier, recipe.optimizer),
        rate=cosine_rate(recipe.schedule, recipe.optimizer.learning_rate, Span.of(recipe, (samples,))),
        preparation=SupervisedPreparation(recipe),
        apart=False,
    )
    with join("cpu") as group:
        trainer = Trainer(ingredients, recipe, seed, group)
        losses = [float(trainer.step(step, inputs(step))) for step in range(STEPS)]
    return objective.model().state_dict(), losses


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mixing": None},
        {"mixing": None, "label_smoothing": 0.0, "optimizer": ADAMW},
        {"optimizer": SGD | {"decay_all": True}},
    ],
    ids=["mixing", "smoothing", "adamw", "decay_all"],
)
def test_steps_equal_timms_bit_for_bit(changes: dict[str, object]) -> None:
    recipe = make_supervised(schedule={"warmup_epochs": 1, "warmup_start": 1e-6, "throughout": True}, **changes)
    theirs, their_losses = timm_weights(recipe, 3, BATCH)
    ours, our_losses = our_weights(recipe, 3, BATCH)
    assert our_losses == their_losses
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    start = build_image_model(recipe.backbone, CLASSES, 3).state_dict()
    assert not torch.equal(ours["fc.weight"], start["fc.weight"])


@pytest.mark.parametrize(("warmup", "final", "first"), [(0, 0.0, 0), (5, 0.0, 0), (2, 1e-3, 1)])
def test_rates_equal_timms_scheduler_by_epoch(warmup: int, final: float, first: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    theirs = CosineLRScheduler(optimizer, t_initial=20, lr_min=final, warmup_t=warmup, warmup_lr_init=1e-6)
    schedule = Cosine(final=final, warmup_epochs=warmup, warmup_start=1e-6, throughout=True, first_epoch=first)  # type: ignore[arg-type]
    rate = cosine_rate(schedule, 0.5, Span(125, 8, 50, 20))
    for step in range(20 * 50 // 8):
        theirs.step(step * 8 // 50 + first)
        assert rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12, abs=1e-18)


def test_rates_equal_timms_scheduler_by_update() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    theirs = CosineLRScheduler(
        optimizer, t_initial=20 * 6, lr_min=1e-4, warmup_t=3 * 6, warmup_lr_init=1e-6, t_in_epochs=False
    )
    schedule = Cosine(final=1e-4, warmup_epochs=3, warmup_start=1e-6, throughout=True, every="step")
    rate = cosine_rate(schedule, 0.5, Span(120, 8, 48, 20))
    for step in range(20 * 6):
        theirs.step_update(step)
        assert rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


def test_the_schedule_is_as_long_as_the_budget() -> None:
    by_step = {"every": "step"}
    assert Span.of(make_supervised(), (10,)).epochs == 4  # 3.2 epochs are begun four times
    assert Span.of(make_supervised(schedule=by_step), (10,)).epochs == pytest.approx(3.2)
    assert Span.of(make_supervised(budget={"kind": "epochs", "epochs": 7}), (10,)).epochs == 7


def decoded(count: int) -> list[tuple[Any, int]]:
    generator = np.random.default_rng(1)
    return [(generator.integers(0, 256, (20 + place, 24, 3), dtype=np.uint8), place % 4) for place in range(count)]


def test_augmentation_belongs_to_seed_step_and_place_alone() -> None:
    preparation, samples = SupervisedPreparation(make_supervised()), decoded(BATCH)
    pixels, labels = preparation.batch(samples, Draw(3, 5, 0, BATCH))
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (BATCH, 3, SIDE, SIDE))
    assert labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    torch.rand(3)
    random.random()
    halves = [preparation.batch(samples[at : at + 4], Draw(3, 5, at, BATCH))[0] for at in (0, 4)]
    assert torch.equal(torch.cat(halves), pixels)
    for other in (Draw(3, 6, 0, BATCH), Draw(4, 5, 0, BATCH)):
        assert not torch.equal(preparation.batch(samples, other)[0], pixels)


def test_augmentation_is_timms() -> None:
    recipe = make_supervised(augmentation={"scale": (0.3, 0.9), "color_jitter": 0.2, "interpolation": "random"})
    [(pixels, _)] = decoded(1)
    ours = SupervisedPreparation(recipe).batch([(pixels, 0)], Draw(0, 0, 0, 1))[0][0]
    python, torch_seed = np.random.default_rng([0, 6, 0]).integers(2**63, size=2).tolist()
    transform = create_transform(
        SIDE, is_training=True, use_prefetcher=True, scale=(0.3, 0.9), ratio=(3 / 4, 4 / 3), hflip=0.5,
        color_jitter=0.2, interpolation="random",
    )  # fmt: skip
    from PIL import Image

    random.seed(python)
    torch.manual_seed(torch_seed)
    assert np.array_equal(ours.numpy(), np.asarray(transform(Image.fromarray(pixels))))


def test_global_generators_stay_where_they_are() -> None:
    recipe = make_supervised()
    before = (random.getstate(), torch.get_rng_state(), np.random.get_state()[1].tolist())  # type: ignore[index]  # noqa: NPY002
    objective = SupervisedObjective(recipe, 1)
    SupervisedPreparation(recipe).batch(decoded(2), Draw(0, 0, 0, 2))
    objective(*inputs(0))
    after = (random.getstate(), torch.get_rng_state(), np.random.get_state()[1].tolist())  # type: ignore[index]  # noqa: NPY002
    assert (before[0], before[2]) == (after[0], after[2])
    assert torch.equal(before[1], after[1])


class StoppedError(Exception):
    """A run is stopped here."""


@pytest.mark.parametrize("stop", [1, 3])
def test_an_interrupted_run_ends_with_the_weights_of_an_unbroken_one(
    shards: MakeShards, tmp_path: Path, stop: int
) -> None:
    data, recipe = shards(labelled_samples()), make_supervised()

    def interrupt(at: Progress) -> None:
        if at.stage == "training" and at.done == stop:
            raise StoppedError

    def run(name: str, **options: Any) -> TrainingReport:
        return train_on(recipe, [data], tmp_path, name, **options)

    with pytest.raises(StoppedError):
        run("broken", progress=interrupt)
    resumed, unbroken = run("broken"), run("whole", workers=1)
    assert resumed.model_sha256 == unbroken.model_sha256
    assert (resumed.steps, resumed.final_loss) == (STEPS, unbroken.final_loss)
    assert run("other", seed=1).model_sha256 != unbroken.model_sha256


def test_labels_are_needed_and_must_be_classes(shards: MakeShards, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none of the first 16 samples has one") as error:
        train_on(make_supervised(), [shards()], tmp_path, "none")
    assert "--labels" in error.value.hint
    with pytest.raises(TrainingError, match=r"its label is [23], and the recipe's 2 classes are counted from 0"):
        train_on(make_supervised(classes=2), [shards(labelled_samples(), "many")], tmp_path, "many")
    with pytest.raises(CorruptSampleError, match="it has no label"):
        SupervisedPreparation(make_supervised()).decode(RawSample(b""))


def test_an_odd_number_of_samples_is_not_mixed() -> None:
    pixels, labels = inputs(0)
    with pytest.raises(TrainingError, match="7 samples of each batch"):
        SupervisedObjective(make_supervised(), 0)(pixels[:7], labels[:7])


@pytest.mark.parametrize("name", ["resnet_of_nobody", "vit_tiny_patch16_224"])
def test_a_backbone_that_timm_cannot_build_is_refused(name: str) -> None:
    backbone = Backbone(name=name, options={"stem_width": 3})
    with pytest.raises(TrainingError, match=f"cannot build the backbone '{name}'"):
        build_image_model(backbone, 10)


def test_only_models_without_batch_normalisation_compute_activations_again() -> None:
    options = {"img_size": SIDE, "patch_size": 8, "depth": 2, "embed_dim": 32, "num_heads": 2}
    vit = make_supervised(backbone={"name": "vit_tiny_patch16_224", "options": options}, mixing=None)
    plain, saving, resnet = (
        SupervisedObjective(vit, 0),
        SupervisedObjective(vit, 0),
        SupervisedObjective(make_supervised(), 0),
    )
    saving.save_memory()
    resnet.save_memory()
    assert saving.classifier.grad_checkpointing is True
    assert resnet.classifier.grad_checkpointing is False
    for objective in (plain, saving):
        objective(*inputs(0)).backward()
    pairs = zip(plain.parameters(), saving.parameters(), strict=True)
    assert all(torch.equal(one.grad, other.grad) for one, other in pairs)  # type: ignore[arg-type]
