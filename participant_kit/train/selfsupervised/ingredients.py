"""From a self-supervised recipe to what it is made of."""

from __future__ import annotations

from competition.rules.recipes import SelfSupervisedRecipe
from competition.rules.recipes.selfsupervised import Byol, Dino, Mae, Moco, SimClr, SimSiam
from participant_kit.train.data.source import TrainingSet
from participant_kit.train.distributed import Group
from participant_kit.train.objective import Ingredients
from participant_kit.train.selfsupervised.backbone import build_backbone
from participant_kit.train.selfsupervised.byol import ByolObjective
from participant_kit.train.selfsupervised.dino import DinoObjective
from participant_kit.train.selfsupervised.mae import MaeObjective
from participant_kit.train.selfsupervised.method import SelfSupervised
from participant_kit.train.selfsupervised.moco import MocoObjective
from participant_kit.train.selfsupervised.optimizer import build_optimizer
from participant_kit.train.selfsupervised.passes import Passes
from participant_kit.train.selfsupervised.schedules import learning_rate
from participant_kit.train.selfsupervised.simclr import SimClrObjective
from participant_kit.train.selfsupervised.simsiam import SimSiamObjective
from participant_kit.train.selfsupervised.swav import SwavObjective
from participant_kit.train.selfsupervised.views import ViewPreparation


def selfsupervised_ingredients(recipe: SelfSupervisedRecipe, data: TrainingSet, seed: int, group: Group) -> Ingredients:
    """What a self-supervised recipe is made of (raises ``TrainingError`` where its backbone cannot be built).

    Copies of a sample stay apart only where samples of one batch are each other's negatives.
    """
    passes = Passes.of(recipe, data)
    objective = build_objective(recipe, seed, group, passes)
    options, schedule = recipe.optimizer, recipe.schedule
    return Ingredients(
        objective=objective,
        optimizer=lambda: build_optimizer(options, objective),
        rate=lambda step: learning_rate(schedule, options.learning_rate, passes, step),
        preparation=ViewPreparation(recipe),
        apart=isinstance(recipe.method, SimClr | Moco),
    )


def build_objective(recipe: SelfSupervisedRecipe, seed: int, group: Group, passes: Passes) -> SelfSupervised:
    """The method's objective with initial weights from the seed, on the CPU."""
    method = recipe.method
    if isinstance(method, Dino):
        return DinoObjective(recipe, method, seed, passes)
    backbone = build_backbone(recipe.backbone, seed)
    if isinstance(method, SimClr):
        return SimClrObjective(recipe, method, backbone, seed, group)
    if isinstance(method, Moco):
        return MocoObjective(recipe, method, backbone, seed, group, passes)
    if isinstance(method, Byol):
        return ByolObjective(recipe, method, backbone, seed, passes)
    if isinstance(method, SimSiam):
        return SimSiamObjective(recipe, method, backbone, seed)
    if isinstance(method, Mae):
        return MaeObjective(recipe, method, backbone, seed)
    return SwavObjective(recipe, method, backbone, seed, group, passes)
