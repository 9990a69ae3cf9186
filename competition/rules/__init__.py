"""What competitions fix: frozen models, their YAML files, and the catalogue of built-in ones."""

from competition.rules.catalog import all_recipes, built_in, find_competition, find_recipe, find_scale, find_track
from competition.rules.loader import load_competition, parse_competition
from competition.rules.models import Aggregate, Competition, Limits, Phase, Pool, Protocol, Scale, Suite, Task, Track
from competition.rules.recipes import (
    ClipArchitecture,
    ClipRecipe,
    Optimizer,
    Recipe,
    SelfSupervisedRecipe,
    SupervisedRecipe,
)

__all__ = [
    "Aggregate",
    "ClipArchitecture",
    "ClipRecipe",
    "Competition",
    "Limits",
    "Optimizer",
    "Phase",
    "Pool",
    "Protocol",
    "Recipe",
    "Scale",
    "SelfSupervisedRecipe",
    "Suite",
    "SupervisedRecipe",
    "Task",
    "Track",
    "all_recipes",
    "built_in",
    "find_competition",
    "find_recipe",
    "find_scale",
    "find_track",
    "load_competition",
    "parse_competition",
]
