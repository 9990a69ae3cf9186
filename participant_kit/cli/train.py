"""``datacup train``: the fixed recipe on the participant's data. No hyper-parameter is a flag."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from competition.errors import UsageError
from competition.rules import Recipe, built_in, find_competition, find_recipe, find_scale
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import SeedOption


def command(
    data_dir: Annotated[str, typer.Option("--data-dir", help="Folder of shards; several are joined by ::.")],
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Where runs are kept.")],
    exp_name: Annotated[str, typer.Option("--exp-name", help="Name of the run, and of its folder.")],
    scale: Annotated[str | None, typer.Option("--scale", help="Train the recipe of this scale: nano, micro.")] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Train this recipe, for example digits-nano-clip; instead of --scale."),
    ] = None,
    competition: Annotated[
        str | None,
        typer.Option(
            "--competition",
            help="A built-in competition, or the path of a competition's YAML file; default: that of --recipe, "
            "or digits.",
        ),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train the fixed recipe on your shards.

    On two CPU cores nano takes about twenty seconds, micro about a minute and a half. A killed run goes on from its
    last checkpoint with the same command.
    """
    console = Console(as_json=as_json)
    competition_id, chosen = _recipe(competition, scale, recipe)

    from participant_kit.train.launcher import train

    run_dir = output_dir / exp_name
    with console.progress(f"Training {chosen.id}") as progress:
        report = train(
            chosen,
            competition_id=competition_id,
            data_dirs=[Path(part) for part in data_dir.split("::")],
            output_dir=output_dir,
            exp_name=exp_name,
            seed=seed,
            progress=progress,
        )
    shown: dict[str, object] = {
        "recipe": report.recipe,
        "steps": f"{report.steps:,}",
        "samples seen": f"{report.samples_seen:,}",
        "final loss": f"{report.final_loss:.4f}",
        "seconds": f"{report.seconds:.1f}",
        "run": run_dir,
    }
    console.pairs({**report.model_dump(mode="json"), "run_dir": str(run_dir)}, shown)
    suite = "" if competition is None or competition in built_in() else f" --suite {shlex.quote(competition)}"
    console.next_step(f"datacup evaluate --train-output-dir {shlex.quote(str(run_dir))}{suite}")


def _recipe(competition: str | None, scale: str | None, recipe: str | None) -> tuple[str, Recipe]:
    if (scale is None) == (recipe is None):
        raise UsageError("Give either --scale or --recipe.", hint="For example: --scale nano")
    if recipe is not None:
        return find_recipe(recipe, within=None if competition is None else find_competition(competition))
    rules = find_competition(competition or "digits")
    return rules.id, rules.recipe_of(find_scale(rules, scale or ""))
