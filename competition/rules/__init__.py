"""What competitions fix: frozen models, their YAML files, and the catalogue of built-in ones."""

from competition.rules.catalog import (
    all_recipes,
    all_suites,
    built_in,
    find_competition,
    find_recipe,
    find_scale,
    find_suite,
    find_track,
)
from competition.rules.loader import load_competition, parse_competition
from competition.rules.models import Competition, EntryKind, Limits, Phase, Pool, Quota, Scale, Track, require_clip
from competition.rules.own_data import Contamination, Descriptor, EntryData, ExternalLimits
from competition.rules.predicted_sets import TestSetShape, predicted_sets
from competition.rules.protocols import Protocol
from competition.rules.recipes import (
    ClipArchitecture,
    ClipRecipe,
    Optimizer,
    Recipe,
    SelfSupervisedRecipe,
    SupervisedRecipe,
)
from competition.rules.suites import Aggregate, Suite, Task
from competition.rules.support import unsupported

__all__ = [
    "Aggregate",
    "ClipArchitecture",
    "ClipRecipe",
    "Competition",
    "Contamination",
    "Descriptor",
    "EntryData",
    "EntryKind",
    "ExternalLimits",
    "Limits",
    "Optimizer",
    "Phase",
    "Pool",
    "Protocol",
    "Quota",
    "Recipe",
    "Scale",
    "SelfSupervisedRecipe",
    "Suite",
    "SupervisedRecipe",
    "Task",
    "TestSetShape",
    "Track",
    "all_recipes",
    "all_suites",
    "built_in",
    "find_competition",
    "find_recipe",
    "find_scale",
    "find_suite",
    "find_track",
    "load_competition",
    "parse_competition",
    "predicted_sets",
    "require_clip",
    "unsupported",
]
