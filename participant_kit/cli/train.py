"""``datacup train``: the fixed recipe on the participant's data. No hyper-parameter is a flag."""

from __future__ import annotations

import shlex
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from competition.errors import UsageError
from competition.records.training import TrainingReport
from competition.rules import Recipe, built_in, find_competition, find_recipe, find_scale, unsupported
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import SeedOption
from participant_kit.train.trackers import TrackerName

Device = Literal["auto", "cpu", "cuda"]

_LEADER_SECONDS = 3.0
"""A launcher kills all when one ends: the leader, who knows what is wrong, shall have said it by then."""


DataDirOption = Annotated[
    str,
    typer.Option(
        "--data-dir",
        help="Folder of shards, of class folders of images, or of a Hugging Face dataset, or hf:OWNER/NAME; "
        "several are joined by ::.",
    ),
]
OutputDirOption = Annotated[Path, typer.Option("--output-dir", help="Where runs are kept.")]
ExpNameOption = Annotated[str, typer.Option("--exp-name", help="Name of the run, and of its folder.")]
ScaleOption = Annotated[str | None, typer.Option("--scale", help="Train the recipe of this scale: nano, micro.")]
RecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", help="Train this recipe, for example digits-nano-clip; instead of --scale."),
]
CompetitionOption = Annotated[
    str | None,
    typer.Option(
        "--competition",
        help="A built-in competition, or the path of a competition's YAML file; default: that of --recipe, or digits.",
    ),
]
DataWeightsOption = Annotated[
    str | None,
    typer.Option("--data-weights", help="How often each source is seen, in proportion: 1::2.5; default: by size."),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels", help="Table with the label of each uid, as datacup label writes it; for supervised recipes."
    ),
]
ClassesOption = Annotated[
    Path | None,
    typer.Option(
        "--classes",
        help="List of classes of --labels, whose positions are the class numbers; default: labels are numbers.",
    ),
]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where to train; auto takes a GPU if there is one.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads of the model.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=0, help="Processes that prepare batches, for each that trains.")
]
SaveMemoryOption = Annotated[
    bool, typer.Option("--save-memory", help="Compute activations again instead of keeping them: the same results.")
]
TrackOption = Annotated[
    list[TrackerName] | None, typer.Option("--track", help="Where to follow the curve live; may be repeated.")
]
CheckOption = Annotated[
    bool,
    typer.Option(
        "--check", help="Only look whether the run can go ahead, and how long it will take; 20 steps are tried."
    ),
]


def command(
    data_dir: DataDirOption,
    output_dir: OutputDirOption,
    exp_name: ExpNameOption,
    scale: ScaleOption = None,
    recipe: RecipeOption = None,
    competition: CompetitionOption = None,
    data_weights: DataWeightsOption = None,
    labels: LabelsOption = None,
    classes: ClassesOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    save_memory: SaveMemoryOption = False,
    track: TrackOption = None,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the fixed recipe on your shards.

    On two CPU cores nano takes about twenty seconds, micro about a minute and a half. A killed run goes on from its
    last checkpoint with the same command.
    """
    console = Console(as_json=as_json)
    competition_id, chosen = _recipe(competition, scale, recipe)

    from participant_kit.cli.train_check import show_check
    from participant_kit.train.data.choice import DataChoice
    from participant_kit.train.data.labels import LabelChoice
    from participant_kit.train.launcher import FollowerError, Plan, train
    from participant_kit.train.machine import Machine, is_leader

    if classes is not None and labels is None:
        raise UsageError("--classes says what --labels means.", hint="Give --labels too, or leave --classes out.")
    data = DataChoice.parse(data_dir, data_weights, LabelChoice(labels, classes) if labels else None)
    plan = Plan(chosen, competition_id, data, output_dir, exp_name, seed)
    machine = Machine(device, threads, workers, save_memory)
    try:
        if check:
            show_check(plan, machine, console)
            return
        with console.progress(f"Training {chosen.id}") if is_leader() else nullcontext() as progress:
            report = train(plan, machine, track=track or (), progress=progress)
    except FollowerError:
        time.sleep(_LEADER_SECONDS)
        raise typer.Exit(1) from None
    if is_leader():
        _show(console, report, plan.folder, competition)


def _show(console: Console, report: TrainingReport, run_dir: Path, competition: str | None) -> None:
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
    if suite or (report.competition in built_in() and _scored(report)):
        console.next_step(f"datacup evaluate --train-output-dir {shlex.quote(str(run_dir))}{suite}")


def _scored(report: TrainingReport) -> bool:
    """Whether the competition scores entries of this recipe."""
    rules = find_competition(report.competition)
    return not unsupported(rules) and any(recipe.digest == report.recipe_digest for recipe in rules.recipes)


def _recipe(competition: str | None, scale: str | None, recipe: str | None) -> tuple[str, Recipe]:
    if (scale is None) == (recipe is None):
        raise UsageError("Give either --scale or --recipe.", hint="For example: --scale nano")
    if recipe is not None:
        return find_recipe(recipe, within=None if competition is None else find_competition(competition))
    rules = find_competition(competition or "digits")
    return rules.id, rules.recipe_of(find_scale(rules, scale or ""))
