"""What a competition file may name instead of writing it out: recipes and suites of the catalogue.

A name is resolved once, when the file is read. The competition then holds the whole recipe and the whole suite, so that
it means the same wherever it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from competition.errors import RulesError
from competition.rules.document import Document, Location
from competition.rules.files import load_recipes, load_suite
from competition.rules.recipes import Recipe
from competition.rules.suites import Suite

CATALOG = Path(__file__).resolve().parent.parent / "catalog"


@cache
def recipes_on_file() -> dict[str, tuple[str, Recipe]]:
    """The recipes of the catalogue's files of recipes by id, each with the name of the folder it lies in."""
    found: dict[str, tuple[str, Recipe]] = {}
    for path in sorted(CATALOG.glob("*/recipes.yaml")):
        found.update({recipe.id: (path.parent.name, recipe) for recipe in load_recipes(path)})
    return found


def suite_files() -> list[str]:
    """References of the suites that have a file of their own in the catalogue."""
    return sorted(path.stem for path in (CATALOG / "suites").glob("*.yaml"))


@cache
def suite_on_file(reference: str) -> Suite:
    """The suite of that reference (one of ``suite_files``)."""
    return load_suite(CATALOG / "suites" / f"{reference}.yaml")


def resolved(document: Document) -> Document:
    """A competition's document with every recipe and suite that it names put in its place.

    Raises:
        RulesError: the catalogue has none of that name; the message names the line and what there is.
    """
    values = document.values
    if not isinstance(values, dict):
        return document
    whole = dict(values)
    if isinstance(values.get("suite"), str):
        reference = values["suite"]
        if reference not in suite_files():
            raise _unknown(document, ("suite",), reference, suite_files())
        whole["suite"] = suite_on_file(reference)
    if isinstance(values.get("recipes"), list):
        whole["recipes"] = [
            _recipe(document, ("recipes", place), recipe) if isinstance(recipe, str) else recipe
            for place, recipe in enumerate(values["recipes"])
        ]
    return replace(document, values=whole)


def _recipe(document: Document, where: Location, recipe_id: str) -> Recipe:
    known = recipes_on_file()
    if recipe_id not in known:
        raise _unknown(document, where, recipe_id, known)
    return known[recipe_id][1]


def _unknown(document: Document, where: Location, name: str, known: Iterable[str]) -> RulesError:
    field = ".".join(map(str, where))
    return RulesError(
        f"{document.name}, line {document.line(where)}: {field}: {name[:80]!r} is not in the catalogue; "
        f"it has {', '.join(known)}."
    )
