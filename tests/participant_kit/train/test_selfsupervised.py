"""Self-supervised methods: their formulas, that they train, and that a broken run ends as an unbroken one."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from lightly.models.utils import update_momentum
from safetensors.torch import load_file
from torch import nn

from competition.errors import TrainingError
from competition.progress import Progress
from competition.rules.recipes import SelfSupervisedRecipe
from competition.rules.recipes.selfsupervised import Dino, Momentum
from participant_kit.train.data.loader import Draw
from participant_kit.train.distributed import Group
from participant_kit.train.objective import Ingredients
from participant_kit.train.schedules import Span
from participant_kit.train.selfsupervised.byol import ByolObjective
from participant_kit.train.selfsupervised.dino import DinoObjective
from participant_kit.train.selfsupervised.ingredients import build_objective
from participant_kit.train.selfsupervised.moco import MocoObjective
from participant_kit.train.selfsupervised.optimizer import build_optimizer
from participant_kit.train.selfsupervised.schedules import is_frozen, momentum, teacher_temperature
from participant_kit.train.selfsupervised.simclr import SimClrObjective
from participant_kit.train.selfsupervised.swav import SwavObjective
from participant_kit.train.selfsupervised.teacher import average
from participant_kit.train.selfsupervised.views import ViewPreparation
from participant_kit.train.trainer import Trainer
from tests.participant_kit.train.conftest import MakeShards, train_on

ALONE = Group(0, 1, torch.device("cpu"))
RESNET = {"name": "resnet18", "options": {"layers": (1, 1, 1, 1), "channels": (8, 8, 8, 16)}}
VIT = {
    "name": "vit_tiny_patch16_224",
    "options": {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2, "dynamic_img_size": True},
}
FIXED_VIT = {"name": VIT["name"], "options": {**VIT["options"], "dynamic_img_size": False}}  # type: ignore[dict-item]
METHODS: dict[str, dict[str, Any]] = {
    "simclr": {"hidden": 16, "output": 8},
    "moco": {"output": 8, "queue": 16, "momentum": {"start": 0.9, "end": 0.9}},
    "byol": {"hidden": 16, "output": 8, "momentum": {"start": 0.9}},
    "simsiam": {"hidden": 16, "output": 8},
    "swav": {"hidden": 16, "output": 8, "prototypes": 4},
    "dino": {"hidden": 16, "bottleneck": 8, "output": 16, "momentum": {"start": 0.9}},
    "mae": {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2},
}
SAMPLES = 30


def make_ssl(name: str, *, steps: int = 6, batch: int = 8, **changes: object) -> SelfSupervisedRecipe:
    """A tiny recipe of a method; SwAV and DINO have local views, too."""
    local = 1 if name in {"swav", "dino"} else 0
    values: dict[str, object] = {
        "kind": "selfsupervised",
        "id": "tiny",
        "backbone": {"dino": VIT, "mae": FIXED_VIT}.get(name, RESNET),
        "image_size": 16,
        "method": {"method": name, **METHODS[name]},
        "views": {"count": 1 if name == "mae" else 2, "local_count": local, "local_size": 8, "scale": (0.5, 1.0)},
        "budget": {"kind": "samples", "samples": steps * batch},
        "global_batch": batch,
        "optimizer": {"kind": "sgd", "learning_rate": 0.05, "weight_decay": 1e-4},
    }
    return SelfSupervisedRecipe.model_validate(values | changes)


def objective_of(recipe: SelfSupervisedRecipe, seed: int = 0, group: Group = ALONE) -> Any:
    return build_objective(recipe, seed, group, Span.of(recipe, (SAMPLES,)))


def trainer_of(recipe: SelfSupervisedRecipe, seed: int = 0, group: Group = ALONE) -> Trainer:
    objective = objective_of(recipe, seed, group)
    ingredients = Ingredients(
        objective=objective,
        optimizer=lambda: build_optimizer(recipe.optimizer, objective),
        rate=lambda _step: recipe.optimizer.learning_rate,
        preparation=ViewPreparation(recipe),
        apart=False,
    )
    return Trainer(ingredients, recipe, 0, group)


def views_of(recipe: SelfSupervisedRecipe, step: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    sizes = [recipe.image_size] * recipe.views.count + [recipe.views.local_size] * recipe.views.local_count
    shape = recipe.global_batch
    return [torch.randint(0, 256, (shape, side, side, 3), generator=generator, dtype=torch.uint8) for side in sizes]


class Stop(Exception):  # noqa: N818 - it is a signal
    """Breaks a run off."""


@pytest.mark.parametrize("method", METHODS)
def test_a_run_trains_and_a_broken_one_ends_with_the_same_bits(method: str, shards: MakeShards, tmp_path: Path) -> None:
    recipe, data, out = make_ssl(method), shards(), tmp_path / "out"
    unbroken = train_on(recipe, [data], out, "unbroken")

    def stop(progress: Progress) -> None:
        if progress.stage == "training" and progress.done == 5:
            raise Stop

    with pytest.raises(Stop):
        train_on(recipe, [data], out, "broken", progress=stop)
    resumed = train_on(recipe, [data], out, "broken")
    assert resumed.model_sha256 == unbroken.model_sha256
    assert resumed.final_loss == unbroken.final_loss
    assert math.isfinite(unbroken.final_loss)
    initial, trained = objective_of(recipe).model().state_dict(), load_file(out / "unbroken/model.safetensors")
    assert initial.keys() == trained.keys()
    assert any(not torch.equal(initial[name], trained[name]) for name in initial)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "dino"])  # its target moves away at first
def test_the_loss_of_the_same_views_falls(method: str) -> None:
    changes: dict[str, object] = {"optimizer": {"kind": "adamw", "learning_rate": 0.01, "weight_decay": 0.0}}
    if method == "moco":  # keys of the same images would fill the queue and become negatives of themselves
        changes["method"] = {"method": "moco", **METHODS["moco"], "queue": 1024}
    trainer = trainer_of(make_ssl(method, steps=40, **changes))
    views = views_of(make_ssl(method))
    losses = [float(trainer.step(0, views)) for _ in range(40)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


@pytest.mark.parametrize("method", METHODS)
def test_a_state_that_is_put_into_a_new_objective_goes_on_alike(method: str) -> None:
    recipe = make_ssl(method)
    first, second = trainer_of(recipe, 0), trainer_of(recipe, 1)
    first.step(0, views_of(recipe, 0))
    second.objective.load_state_dict(first.objective.state_dict())
    assert float(first.step(1, views_of(recipe, 1))) == float(second.step(1, views_of(recipe, 1)))


@pytest.mark.parametrize("method", METHODS)
def test_initial_weights_come_from_the_seed_alone(method: str) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (objective_of(make_ssl(method), seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_nt_xent_is_the_papers_formula() -> None:
    recipe = make_ssl("simclr", batch=4)
    objective: SimClrObjective = objective_of(recipe)
    views = views_of(recipe)
    z = nn.functional.normalize(objective.head(objective.backbone(objective.pixels(*views))), dim=1).double()
    similarity = (z @ z.T / 0.07).exp()
    terms = []
    for i in range(8):
        positive = (i + 4) % 8
        others = sum(similarity[i, k] for k in range(8) if k != i)
        terms.append(-torch.log(similarity[i, positive] / others))
    expected = float(torch.stack(terms).mean().detach())
    assert float(objective(*views).detach()) == pytest.approx(expected, rel=1e-4)


def test_a_teacher_is_the_weighted_mean_of_itself_and_the_student() -> None:
    teacher, student = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        for value, layer in ((1.0, teacher), (5.0, student)):
            layer.weight.fill_(value)
            layer.running_mean.fill_(value)  # type: ignore[union-attr]
    average(teacher, student, 0.75)
    assert teacher.weight.tolist() == [2.0, 2.0]
    assert teacher.running_mean.tolist() == [1.0, 1.0]  # type: ignore[union-attr]
    average(teacher, student, 0.75, statistics=True)
    assert teacher.weight.tolist() == [2.75, 2.75]
    assert teacher.running_mean.tolist() == [2.0, 2.0]  # type: ignore[union-attr]
    assert student.weight.tolist() == [5.0, 5.0]


def test_schedules_have_the_values_that_one_computes_by_hand() -> None:
    span = Span(steps=40, batch=8, samples=32, epochs=10)  # four steps an epoch
    by_epoch, by_step = Momentum(start=0.9, every="epoch"), Momentum(start=0.9, every="step")
    assert [momentum(by_epoch, span, step) for step in (0, 3)] == pytest.approx([0.9, 0.9])
    assert momentum(by_epoch, span, 23) == pytest.approx(0.95)  # half of the epochs are over
    assert momentum(by_step, span, 20) == pytest.approx(0.95)
    assert momentum(by_step, span, 10) == pytest.approx(1 - 0.1 * (1 + math.sqrt(0.5)) / 2)
    dino = Dino(method="dino", teacher_temperature_warmup=0.4)  # four epochs from 0.04 to 0.07
    assert [teacher_temperature(dino, span, step) for step in (0, 3, 8, 16, 39)] == pytest.approx(
        [0.04, 0.04, 0.055, 0.07, 0.07]
    )
    assert [is_frozen(0.2, span, step) for step in (0, 7, 8)] == [True, True, False]
    assert [is_frozen(0.0, span, step) for step in (3, 4)] == [True, False]


@pytest.mark.parametrize("decay_all", [True, False])
def test_a_simclr_step_equals_the_loop_of_lightlys_example(decay_all: bool) -> None:
    options = {"kind": "sgd", "learning_rate": 0.05, "weight_decay": 0.01, "decay_all": decay_all}
    recipe = make_ssl("simclr", optimizer=options)
    trainer = trainer_of(recipe)
    theirs: Any = copy.deepcopy(trainer.objective)
    loss_of = NTXentLoss(temperature=0.07)
    weights = [parameter for parameter in theirs.parameters() if decay_all or parameter.ndim > 1]
    gains = [parameter for parameter in theirs.parameters() if not decay_all and parameter.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": weights}, {"params": gains, "weight_decay": 0.0}], 0.05, 0.9, weight_decay=0.01, nesterov=True
    )
    for step in range(3):
        views = views_of(recipe, step)
        one, other = theirs.head(theirs.backbone(_normalised(torch.cat(views)))).chunk(2)
        loss = loss_of(one, other)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert float(trainer.step(step, views)) == pytest.approx(float(loss.detach()), rel=1e-5)
    _assert_close(trainer.objective, theirs)


def test_byol_steps_equal_the_loop_of_lightlys_example() -> None:
    method = {"method": "byol", **METHODS["byol"], "momentum": {"start": 0.9, "end": 0.9}}
    options = {"kind": "sgd", "learning_rate": 0.01, "weight_decay": 0.01, "decay_all": True}
    recipe = make_ssl("byol", method=method, optimizer=options)
    trainer = trainer_of(recipe)
    theirs: Any = copy.deepcopy(trainer.objective)
    cosine = NegativeCosineSimilarity()
    trained = [parameter for parameter in theirs.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, 0.01, 0.9, weight_decay=0.01, nesterov=True)
    for step in range(3):
        # lightly's example averages before a step what ours averages after the one before it.
        update_momentum(theirs.backbone, theirs.target_backbone, 0.9)
        update_momentum(theirs.projector, theirs.target_projector, 0.9)
        views = views_of(recipe, step)
        images = _normalised(torch.cat(views))
        p0, p1 = theirs.predictor(theirs.projector(theirs.backbone(images))).chunk(2)
        with torch.no_grad():
            z0, z1 = theirs.target_projector(theirs.target_backbone(images)).chunk(2)
        loss = 0.5 * (cosine(p0, z1) + cosine(p1, z0))
        optimizer.zero_grad()
        (4 * loss).backward()  # theirs is from -1 to 1, SimCore's (2 - 2 cos, in both directions) from 0 to 8
        optimizer.step()
        assert float(trainer.step(step, views)) == pytest.approx(4 + 4 * float(loss.detach()), rel=1e-4)
    objective = trainer.objective
    assert isinstance(objective, ByolObjective)
    for ours, reference in ((objective.backbone, theirs.backbone), (objective.predictor, theirs.predictor)):
        _assert_close(ours, reference)


def test_moco_keeps_the_newest_keys_in_its_state() -> None:
    recipe = make_ssl("moco")
    trainer = trainer_of(recipe)
    objective = trainer.objective
    assert isinstance(objective, MocoObjective)
    expected = []
    for step in range(3):
        views = views_of(recipe, step)
        keys = copy.deepcopy(objective)
        with torch.no_grad():
            expected.append(nn.functional.normalize(keys.key_head(keys.key_backbone(keys.pixels(views[1]))), dim=1))
        trainer.step(step, views)
    queue = objective.state_dict()["_loss.memory_bank.bank"]  # of 16: the third batch has taken the first one's place
    assert torch.allclose(queue, torch.cat([expected[2], expected[1]]), atol=1e-6)


@pytest.mark.parametrize("method", ["swav", "dino"])
def test_frozen_layers_keep_their_weights_for_an_epoch(method: str) -> None:
    recipe = make_ssl(method)  # 30 samples: the first epoch is the steps 0 to 3
    trainer = trainer_of(recipe)
    objective = trainer.objective
    assert isinstance(objective, SwavObjective | DinoObjective)
    layer = objective.prototypes if isinstance(objective, SwavObjective) else objective.head.last_layer
    objective.begin_step(0)
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    for step in range(4):
        trainer.step(step, views_of(recipe, step))
    after = [parameter.detach().clone() for parameter in layer.parameters()]
    assert all(torch.allclose(old, new, atol=1e-6) for old, new in zip(before, after, strict=True))
    trainer.step(4, views_of(recipe, 4))
    assert any(not torch.allclose(old, new, atol=1e-6) for old, new in zip(before, layer.parameters(), strict=True))


def test_dino_submits_the_teacher() -> None:
    objective = objective_of(make_ssl("dino"))
    assert objective.model() is objective.teacher
    assert not any(parameter.requires_grad for parameter in objective.teacher.parameters())


def test_views_depend_on_the_place_in_the_batch_and_not_on_who_prepares_them() -> None:
    preparation = ViewPreparation(make_ssl("swav"))
    rng = np.random.default_rng(0)
    samples = [(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8), None)] * 4
    before = torch.random.get_rng_state()
    whole = preparation.batch(samples, Draw(seed=1, step=2, first=0, batch=4))
    part = preparation.batch(samples[2:], Draw(seed=1, step=2, first=2, batch=4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert [tuple(view.shape) for view in whole] == [(4, 16, 16, 3), (4, 16, 16, 3), (4, 8, 8, 3)]
    assert all(torch.equal(view[2:], other) for view, other in zip(whole, part, strict=True))
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole[0][0], whole[0][1])
    another = preparation.batch(samples, Draw(seed=1, step=3, first=0, batch=4))
    assert not torch.equal(whole[0], another[0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": {"method": "moco", "queue": 12}}, "no multiple of the global batch"),
        ({"views": {"count": 1}}, "compares two views"),
        ({"views": {"local_count": 2}}, "no local views"),
        ({"views": {"scale": (0.0, 1.0)}}, "above 0"),
    ],
)
def test_recipes_that_do_not_fit_together_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_ssl("simclr", **changes)


def test_a_backbone_that_cannot_be_built_is_named() -> None:
    with pytest.raises(TrainingError, match="no_such_model"):
        objective_of(make_ssl("simclr", backbone={"name": "no_such_model"}))
    with pytest.raises(TrainingError, match="masked autoencoder"):
        objective_of(make_ssl("mae", backbone=RESNET))


def _normalised(pixels: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def _assert_close(ours: nn.Module, theirs: nn.Module) -> None:
    expected = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        assert torch.allclose(tensor.double(), expected[name].double(), rtol=1e-4, atol=1e-5), name
