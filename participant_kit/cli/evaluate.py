"""``datacup evaluate``: the official evaluation on this machine, with the code that the scorer runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from competition.errors import UsageError
from competition.records.evaluation import EvaluationReport
from competition.records.submission import Score
from competition.records.training import TrainingReport
from competition.rules import Competition, Suite, built_in, find_competition, find_suite, unsupported
from competition.rules.aggregates import aggregate_values
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.standings import format_score
from participant_kit.cli.submit import suggestion
from participant_kit.settings import KitSettings

_PUBLISHED = ("timm:", "open_clip:")


def command(
    run_dir: Annotated[
        Path | None, typer.Option("--train-output-dir", help="The run's folder: <output-dir>/<exp-name>.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="The run's folder, or its name under ./runs; or a published model to compare with: timm:NAME or "
            "open_clip:NAME/TAG.",
        ),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option("--suite", help="A suite, or a competition's YAML file; default: that of the run's competition."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Folder of the evaluation sets; default: evaluation/ in DATACUP_CACHE."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="A .safetensors file for the published model; default: its own, from the Hub."),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", help="Where the published model's report goes; default: under ./runs."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the official evaluation of a finished run, or of a published model.

    Finished tasks are kept: a killed evaluation goes on with the next task.
    """
    console = Console(as_json=as_json)
    if model is not None and model.startswith(_PUBLISHED):
        if run_dir is not None or suite is None:
            raise UsageError(
                "A published model is evaluated by --model and --suite.", hint="For example: --suite datacomp-38"
            )
        _evaluate_published(console, _Published(model, weights, output_dir), suite, data_dir)
        return
    if weights is not None or output_dir is not None:
        raise UsageError(
            "--weights and --output-dir go with a published model.", hint="For example: --model timm:resnet50.a1_in1k"
        )
    run = _run_folder(run_dir, model)

    from participant_kit.evaluation import evaluate_run, read_training_report

    training = read_training_report(run)
    rules = _competition_of_run(training.competition) if suite is None else _competition_of_suite(suite, training)
    with console.progress("Evaluating") as progress:
        report = evaluate_run(run, rules, data_dir or KitSettings().evaluation_root, progress)
    _show_all(console, report, rules.suite)
    if not unsupported(rules) and any(scale.recipe == training.recipe for scale in rules.scales):
        console.next_step(suggestion(rules, training.recipe, run, file=suite if _is_file(suite) else None))


@dataclass(frozen=True)
class _Published:
    """A published model, a file to take its weights from, and where its report goes."""

    name: str
    weights: Path | None
    folder: Path | None


def _evaluate_published(console: Console, chosen: _Published, suite: str, data_dir: Path | None) -> None:
    from participant_kit.evaluation import REPORT_FILE, evaluate_reference

    rules = find_competition(suite).suite if _is_file(suite) else find_suite(suite)
    folder = chosen.folder or Path("runs") / chosen.name.replace(":", "-").replace("/", "-")
    root = data_dir or KitSettings().evaluation_root
    with console.progress("Evaluating") as progress:
        report = evaluate_reference(chosen.name, chosen.weights, folder, rules, root, progress)
    _show_all(console, report, rules)
    console.note(f"The report is {folder / REPORT_FILE}.")


def _show_all(console: Console, report: EvaluationReport, suite: Suite) -> None:
    waiting = [task for task in suite.tasks if not task.executable]
    if waiting:
        names = ", ".join(f"{task.id} ({task.protocol.value}, {task.metric})" for task in waiting)
        console.note(f"Unscored, since this version cannot run them: {names}.")
    show(console, report)
    _show_aggregates(console, report, suite)


def show(console: Console, report: EvaluationReport) -> None:
    """Print an evaluation as a table (or JSON, without the single outcomes); images left out are said beside it."""
    rows = [
        [
            result.task,
            result.metric,
            format_score(Score(value=result.value, interval=result.interval)),
            str(result.samples),
            f"{result.seconds:.2f}",
            "-" if result.images_per_second is None else f"{result.images_per_second:.0f}",
        ]
        for result in report.results
    ]
    payload = report.model_dump(mode="json", exclude={"results": {"__all__": {"outcomes"}}})
    columns = ["task", "metric", "value [95 % interval]", "images", "seconds", "images/s"]
    for result in report.results:
        if result.unreadable:
            console.note(f"{result.task}: {result.unreadable} images cannot be decoded, and were left out.")
    console.table(payload, report.suite, columns, rows)


def _show_aggregates(console: Console, report: EvaluationReport, suite: Suite) -> None:
    """Print what the suite makes of the tasks, to a person: the report's record holds the tasks alone."""
    if console.as_json:
        return
    titles = {aggregate.id: aggregate.title for aggregate in suite.aggregates}
    found = aggregate_values(suite, {result.task: result.value for result in report.results})
    shown = {titles[each.aggregate]: each.note if each.value is None else f"{each.value:.4f}" for each in found}
    console.pairs({}, shown)


def _run_folder(run_dir: Path | None, model: str | None) -> Path:
    if (run_dir is None) == (model is None):
        raise UsageError(
            "Give either --train-output-dir or --model.", hint="For example: --train-output-dir runs/first"
        )
    folder = run_dir or Path(model or "")
    if not folder.is_dir() and model is not None:
        folder = Path("runs") / model
    if not folder.is_dir():
        raise UsageError(f"There is no run in {run_dir or model}.", hint="Train one with `datacup train`.")
    return folder


def _competition_of_run(name: str) -> Competition:
    if name not in built_in():
        raise UsageError(
            f"The run is of competition {name!r}, which is not built in.",
            hint="Give that competition's YAML file: --suite FILE",
        )
    return find_competition(name)


def _is_file(suite: str | None) -> bool:
    return suite is not None and suite.endswith((".yaml", ".yml"))


def _competition_of_suite(suite: str, training: TrainingReport) -> Competition:
    """The competition that has the suite and the run's recipe; else the run's own competition, with that suite."""
    if _is_file(suite):
        return find_competition(suite)
    chosen = find_suite(suite)
    for found in map(find_competition, built_in()):
        trains = {recipe.digest for recipe in found.recipes}
        if found.suite.digest == chosen.digest and training.recipe_digest in trains:
            return found
    return _competition_of_run(training.competition).model_copy(update={"suite": chosen})
