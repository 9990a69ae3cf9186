"""Finding competitions, suites and recipes: the built-in ones by name, other competitions by the path of their file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from competition.errors import UsageError
from competition.rules.loader import load_competition
from competition.rules.models import Competition, Scale, Track
from competition.rules.recipes import Recipe
from competition.rules.references import CATALOG, recipes_on_file, suite_files, suite_on_file
from competition.rules.suites import Suite


def built_in() -> list[str]:
    """Names of the competitions that ship with DataCup."""
    return sorted(path.parent.name for path in CATALOG.glob("*/competition.yaml"))


@cache
def find_competition(name_or_path: str) -> Competition:
    """The built-in competition of that name, or the one in the file of that path.

    Raises ``UsageError`` when there is neither, ``RulesError`` when the file is malformed.
    """
    if name_or_path in built_in():
        return load_competition(CATALOG / name_or_path / "competition.yaml")
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        return load_competition(path)
    raise UsageError(
        f"There is no competition {name_or_path!r}.",
        hint=f"Built in are: {', '.join(built_in())}; or give the path of a competition's YAML file.",
    )


def find_scale(competition: Competition, scale_id: str) -> Scale:
    """The scale of that id (raises ``UsageError`` naming the scales there are)."""
    for scale in competition.scales:
        if scale.id == scale_id:
            return scale
    raise UsageError(
        f"Competition {competition.id!r} has no scale {scale_id!r}.",
        hint=f"Its scales are: {', '.join(scale.id for scale in competition.scales)}.",
    )


def find_track(competition: Competition, track_id: str) -> Track:
    """The track of that id (raises ``UsageError`` naming the tracks there are)."""
    for track in competition.tracks:
        if track.id == track_id:
            return track
    raise UsageError(
        f"Competition {competition.id!r} has no track {track_id!r}.",
        hint=f"Its tracks are: {', '.join(track.id for track in competition.tracks)}.",
    )


@cache
def all_recipes() -> dict[str, tuple[str, Recipe]]:
    """Every built-in recipe by its id, with the name of the competition that it belongs to."""
    found = dict(recipes_on_file())
    for name in built_in():
        found.update({recipe.id: (name, recipe) for recipe in find_competition(name).recipes if recipe.id not in found})
    return found


@cache
def all_suites() -> dict[str, Suite]:
    """Every built-in suite by its reference: those with a file of their own, and those inside competitions."""
    found = {reference: suite_on_file(reference) for reference in suite_files()}
    for name in built_in():
        suite = find_competition(name).suite
        found.setdefault(suite.reference, suite)
    return dict(sorted(found.items()))


def find_suite(name: str) -> Suite:
    """The built-in suite of that reference (``datacomp-38@1``), or the newest version of that id (``datacomp-38``).

    Raises ``UsageError`` with the suites there are.
    """
    known = all_suites()
    versions = [suite for suite in known.values() if name in {suite.id, suite.reference}]
    if not versions:
        raise UsageError(f"There is no suite {name!r}.", hint=f"Suites are: {', '.join(known)}.")
    return max(versions, key=lambda suite: suite.version)


def find_recipe(recipe_id: str, within: Competition | None = None) -> tuple[str, Recipe]:
    """The recipe of that id and the name of the competition it belongs to: ``within``, or else a built-in one.

    Raises ``UsageError`` with the ids there are.
    """
    known = all_recipes() if within is None else {recipe.id: (within.id, recipe) for recipe in within.recipes}
    if recipe_id not in known:
        where = "There is" if within is None else f"Competition {within.id!r} has"
        raise UsageError(f"{where} no recipe {recipe_id!r}.", hint=f"Recipes are: {', '.join(sorted(known))}.")
    return known[recipe_id]
