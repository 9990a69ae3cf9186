"""``datacup recipe``: what the fixed trainings are, number by number, and where each number comes from."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from competition.rules import ClipRecipe, Recipe, all_recipes, find_competition, find_recipe
from participant_kit.cli.console import Console, JsonOption

RecipeArgument = Annotated[str, typer.Argument(help="Id of a recipe; see datacup recipe list.", metavar="ID")]
OtherArgument = Annotated[str, typer.Argument(help="Id of the recipe to compare with.", metavar="OTHER")]
CompetitionOption = Annotated[
    str | None,
    typer.Option("--competition", help="Recipes of this competition alone: a built-in one, or the path of its file."),
]

app = typer.Typer(
    help="List, show and compare the fixed trainings.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.command("list")
def list_(competition: CompetitionOption = None, as_json: JsonOption = False) -> None:
    """List all recipes, or those of a competition's file."""
    found = list(all_recipes().values())
    if competition is not None:
        rules = find_competition(competition)
        found = [(rules.id, recipe) for recipe in rules.recipes]
    Console(as_json=as_json).table(
        [_summary(owner, recipe) for owner, recipe in found],
        "",
        ["recipe", "trains", "batch", "training", "digest"],
        [
            [recipe.id, _model(recipe), f"{recipe.global_batch:,}", _length(recipe), recipe.digest[:12]]
            for _, recipe in found
        ],
    )


@app.command()
def show(recipe: RecipeArgument, competition: CompetitionOption = None, as_json: JsonOption = False) -> None:
    """Show every hyper-parameter of a recipe with its source."""
    owner, found = _find(recipe, competition)
    parameters = {
        name: {"value": value, "source": found.source(name)} for name, value in sorted(found.parameters().items())
    }
    shown: dict[str, object] = {
        "recipe": found.id,
        "title": found.title,
        "kind": found.kind,
        "competition": owner,
        "digest": found.digest,
        "steps": _counted(_steps(found)),
        "samples seen": _counted(_samples_seen(found)),
        "training": _length(found),
    }
    width = max(len(_plain(entry["value"])) for entry in parameters.values())
    for name, entry in parameters.items():
        shown[name] = f"{_plain(entry['value']):<{width}}  {entry['source'] or 'source not stated'}"
    Console(as_json=as_json).pairs({**_summary(owner, found), "parameters": parameters}, shown)


@app.command()
def diff(
    recipe: RecipeArgument, other: OtherArgument, competition: CompetitionOption = None, as_json: JsonOption = False
) -> None:
    """Show the hyper-parameters in which two recipes differ."""
    console = Console(as_json=as_json)
    (_, left), (_, right) = _find(recipe, competition), _find(other, competition)
    sides = {name: {"kind": side.kind, **side.parameters()} for name, side in (("a", left), ("b", right))}
    differences = {
        name: {side: values[name] for side, values in sides.items() if name in values}
        for name in sorted(sides["a"] | sides["b"])
        if name not in sides["a"] or name not in sides["b"] or sides["a"][name] != sides["b"][name]
    }
    if not differences and not as_json:
        same = f"Both are {left.id}." if left.id == right.id else f"{left.id} and {right.id} differ in their ids alone."
        typer.echo(same)
        return
    payload = {
        "a": {"id": left.id, "digest": left.digest},
        "b": {"id": right.id, "digest": right.digest},
        "equal": not differences,
        "parameters": differences,
    }
    rows = [
        [name, *(_plain(values[side]) if side in values else "-" for side in ("a", "b"))]
        for name, values in differences.items()
    ]
    console.table(payload, "", ["parameter", left.id, right.id], rows)


def _find(recipe_id: str, competition: str | None) -> tuple[str, Recipe]:
    return find_recipe(recipe_id, within=None if competition is None else find_competition(competition))


def _summary(owner: str, recipe: Recipe) -> dict[str, Any]:
    return {
        "id": recipe.id,
        "title": recipe.title,
        "kind": recipe.kind,
        "competition": owner,
        "digest": recipe.digest,
        "steps": _steps(recipe),
        "samples_seen": _samples_seen(recipe),
    }


def _model(recipe: Recipe) -> str:
    if isinstance(recipe, ClipRecipe):
        return f"clip {recipe.architecture.name}"
    method = recipe.method.method if recipe.kind == "selfsupervised" else recipe.kind
    return f"{method} {recipe.backbone.name}"


def _length(recipe: Recipe) -> str:
    """How long it trains, in words."""
    if isinstance(recipe, ClipRecipe):
        return f"{recipe.steps:,} steps"
    budget = recipe.budget
    if budget.kind == "samples":
        return f"{budget.samples:,} samples"
    if budget.kind == "epochs":
        return f"{budget.epochs:,} epochs"
    return f"{budget.epochs:,} epochs, fewer with a large coreset"


def _steps(recipe: Recipe) -> int | None:
    """Optimiser steps where they do not depend on the data."""
    if isinstance(recipe, ClipRecipe):
        return recipe.steps
    return recipe.steps_on(()) if recipe.budget.kind == "samples" else None


def _samples_seen(recipe: Recipe) -> int | None:
    steps = _steps(recipe)
    return None if steps is None else steps * recipe.global_batch


def _counted(number: int | None) -> str:
    return "depends on the data" if number is None else f"{number:,}"


def _plain(value: object) -> str:
    return "none" if value is None else json.dumps(value).strip('"')
