"""Recipes that say only in what they differ from another one of their file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from competition.errors import RulesError
from competition.rules.document import Document


def extended(document: Document) -> Document:
    """A file of recipes with every ``extends`` resolved. An inherited value is at the line of the recipe inheriting it.

    A recipe with ``extends: ID`` has all fields of the recipe ID, which stands above it, except those that it gives
    itself: a field is replaced whole, and takes its ``sources`` along. What is not a file of recipes is left as it
    is, for the model to refuse.

    Raises:
        RulesError: the recipe it extends is not above it; the message names the line.
    """
    values = document.values
    if not isinstance(values, dict) or not isinstance(values.get("recipes"), list):
        return document
    above: dict[str, dict[str, Any]] = {}
    recipes = []
    for number, recipe in enumerate(values["recipes"]):
        whole = recipe
        if isinstance(recipe, dict):
            if "extends" in recipe:
                whole = _merged(_base(recipe["extends"], above, document, number), recipe)
            above[str(recipe.get("id"))] = whole
        recipes.append(whole)
    return replace(document, values={**values, "recipes": recipes})


def _base(wanted: object, above: dict[str, dict[str, Any]], document: Document, number: int) -> dict[str, Any]:
    if isinstance(wanted, str) and wanted in above:
        return above[wanted]
    line = document.line(("recipes", number, "extends"))
    raise RulesError(
        f"{document.name}, line {line}: recipes.{number}.extends: {str(wanted)[:80]!r} is no recipe above this one; "
        f"above are {', '.join(above) or 'none'}."
    )


def _merged(base: dict[str, Any], recipe: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in recipe.items() if name != "extends"}
    whole = {**base, **own}
    inherited, given = base.get("sources"), own.get("sources", {})
    if isinstance(inherited, dict) and isinstance(given, dict):
        kept = {name: text for name, text in inherited.items() if name.split(".")[0] not in own}
        whole["sources"] = {**kept, **given}
    return whole
