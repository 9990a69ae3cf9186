"""What competitions fix: frozen models, their YAML files, and the catalogue of built-in ones."""

from competition.rules.catalog import built_in, find_competition, find_recipe, find_scale, find_track
from competition.rules.loader import load_competition, parse_competition
from competition.rules.models import (
    Aggregate,
    ClipArchitecture,
    ClipRecipe,
    Competition,
    Limits,
    Optimizer,
    Phase,
    Pool,
    Protocol,
    Recipe,
    Scale,
    Suite,
    Task,
    Track,
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
    "Suite",
    "Task",
    "Track",
    "built_in",
    "find_competition",
    "find_recipe",
    "find_scale",
    "find_track",
    "load_competition",
    "parse_competition",
]
