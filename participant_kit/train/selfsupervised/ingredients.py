"""From a self-supervised recipe to what it is made of."""

from __future__ import annotations

import torch

from competition.rules.recipes import SelfSupervisedRecipe
from competition.rules.recipes.optimizers import AdamW
from competition.rules.recipes.selfsupervised import Byol, Dino, Mae, Moco, SimClr, SimSiam, Swav
from participant_kit.train.data.source import TrainingSet
from participant_kit.train.distributed import Group
from participant_kit.train.objective import Ingredients
from participant_kit.train.schedules import Span, cosine_decay, cosine_rate
from participant_kit.train.selfsupervised.backbone import build_backbone
from participant_kit.train.selfsupervised.byol import ByolObjective
from participant_kit.train.selfsupervised.dino import DinoObjective
from participant_kit.train.selfsupervised.mae import MaeObjective
from participant_kit.train.selfsupervised.method import SelfSupervised
from participant_kit.train.selfsupervised.moco import MocoObjective
from participant_kit.train.selfsupervised.optimizer import build_optimizer
from participant_kit.train.selfsupervised.simclr import SimClrObjective
from participant_kit.train.selfsupervised.simsiam import SimSiamObjective
from participant_kit.train.selfsupervised.swav import SwavObjective
from participant_kit.train.selfsupervised.views import ViewPreparation


def selfsupervised_ingredients(recipe: SelfSupervisedRecipe, data: TrainingSet, seed: int, group: Group) -> Ingredients:
    """What a self-supervised recipe is made of (raises ``TrainingError`` where its backbone cannot be built).

    Copies of a sample stay apart only where samples of one batch are each other's negatives.
    """
    span = Span.of(recipe, data.sizes)
    # Convolutions are up to twice as fast with the channels of a pixel beside each other, as views have them.
    objective = build_objective(recipe, seed, group, span).to(memory_format=torch.channels_last)
    options, schedule = recipe.optimizer, recipe.schedule
    return Ingredients(
        objective=objective,
        optimizer=lambda: build_optimizer(options, objective),
        rate=cosine_rate(schedule, options.learning_rate, span),
        preparation=ViewPreparation(recipe),
        apart=isinstance(recipe.method, SimClr | Moco),
        decay=cosine_decay(options, schedule, span),
        clip=options.clip if isinstance(options, AdamW) else None,
    )


def build_objective(recipe: SelfSupervisedRecipe, seed: int, group: Group, span: Span) -> SelfSupervised:
    """The method's objective with initial weights from the seed, on the CPU."""
    method = recipe.method
    if isinstance(method, Dino):
        return DinoObjective(recipe, method, seed, span)
    backbone = build_backbone(recipe.backbone, seed)
    match method:
        case SimClr():
            objective: SelfSupervised = SimClrObjective(recipe, method, backbone, seed, group)
        case Moco():
            objective = MocoObjective(recipe, method, backbone, seed, group, span)
        case Byol():
            objective = ByolObjective(recipe, method, backbone, seed, span)
        case SimSiam():
            objective = SimSiamObjective(recipe, method, backbone, seed)
        case Swav():
            objective = SwavObjective(recipe, method, backbone, seed, group, span)
        case Mae():
            objective = MaeObjective(recipe, method, backbone, seed)
    return objective
