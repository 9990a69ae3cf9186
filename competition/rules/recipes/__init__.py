"""Recipes: trainings that are identical for everybody, as frozen data with a digest."""

from typing import Annotated

from pydantic import Field

from competition.rules.recipes.clip import ClipArchitecture, ClipRecipe, Optimizer
from competition.rules.recipes.common import Backbone, BaseRecipe
from competition.rules.recipes.selfsupervised import SelfSupervisedRecipe
from competition.rules.recipes.supervised import SupervisedRecipe

Recipe = Annotated[ClipRecipe | SupervisedRecipe | SelfSupervisedRecipe, Field(discriminator="kind")]

__all__ = [
    "Backbone",
    "BaseRecipe",
    "ClipArchitecture",
    "ClipRecipe",
    "Optimizer",
    "Recipe",
    "SelfSupervisedRecipe",
    "SupervisedRecipe",
]
