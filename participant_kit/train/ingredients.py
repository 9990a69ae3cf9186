"""From a recipe to what it is made of, by its kind. Each kind's libraries are loaded for its own recipes alone."""

from __future__ import annotations

from competition.rules.recipes import ClipRecipe, Recipe, SupervisedRecipe
from participant_kit.train.data.source import TrainingSet
from participant_kit.train.distributed import Group
from participant_kit.train.objective import Ingredients


def ingredients_of(recipe: Recipe, data: TrainingSet, seed: int, group: Group) -> Ingredients:
    """Objective, optimiser, schedule and preparation of a recipe on these data (its epochs depend on their size)."""
    if isinstance(recipe, ClipRecipe):
        from participant_kit.train.clip import clip_ingredients

        return clip_ingredients(recipe, seed, group)
    if isinstance(recipe, SupervisedRecipe):
        from participant_kit.train.supervised import supervised_ingredients

        return supervised_ingredients(recipe, data, seed)
    from participant_kit.train.selfsupervised import selfsupervised_ingredients

    return selfsupervised_ingredients(recipe, data, seed, group)
