"""``datacup evaluate``: the official evaluation on this machine, with the code that the scorer runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from competition.errors import UsageError
from competition.records.evaluation import EvaluationReport
from competition.records.submission import Score
from competition.records.training import TrainingReport
from competition.rules import Competition, Protocol, Suite, Task, built_in, find_competition, find_suite, unsupported
from competition.rules.aggregates import aggregate_values
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.standings import format_score
from participant_kit.cli.submit import suggestion, suggestion_of_predictions
from participant_kit.settings import KitSettings


def command(
    run_dir: Annotated[
        Path | None, typer.Option("--train-output-dir", help="The run's folder: <output-dir>/<exp-name>.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="The run's folder, or its name under ./runs.")] = None,
    suite: Annotated[
        str | None,
        typer.Option("--suite", help="A suite, or a competition's YAML file; default: that of the run's competition."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="Score this .npz of predictions instead of a run; needs --suite."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Folder of the evaluation sets; default: evaluation/ in DATACUP_CACHE."),
    ] = None,
    entry_data: Annotated[
        Path | None,
        typer.Option(
            "--entry-data",
            help="Folder of the entry's images, for tasks about them: shards, or a folder for each class.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the official evaluation of a run, or of predictions.

    Finished tasks are kept: a killed evaluation goes on with the next task.
    """
    console = Console(as_json=as_json)
    evaluation_root = data_dir or KitSettings().evaluation_root
    if predictions is not None:
        _evaluate_predictions(console, predictions, suite, evaluation_root, of_run=bool(run_dir or model))
        return
    run = _run_folder(run_dir, model)

    from participant_kit.evaluation import evaluate_run, read_training_report

    training = read_training_report(run)
    rules = _competition_of_run(training.competition) if suite is None else _competition_of_suite(suite, training)
    with console.progress("Evaluating") as progress:
        report = evaluate_run(run, rules, evaluation_root, progress, entry_data=entry_data)
    _note_unscored(console, rules.suite, with_images=entry_data is not None)
    show(console, report)
    _show_aggregates(console, report, rules.suite)
    if not unsupported(rules) and any(scale.recipe == training.recipe for scale in rules.scales):
        console.next_step(suggestion(rules, training.recipe, run, file=suite if _is_file(suite) else None))


def _evaluate_predictions(
    console: Console, predictions: Path, suite: str | None, evaluation_root: Path, *, of_run: bool
) -> None:
    if suite is None or of_run:
        raise UsageError(
            "Predictions are scored without a run, under a suite that is named.",
            hint="For example: --predictions FILE.npz --suite imagenetv2",
        )

    from participant_kit.predictions import evaluate_file, rules_of_suite

    rules = rules_of_suite(suite)
    with console.progress("Scoring") as progress:
        report, place = evaluate_file(predictions, rules, evaluation_root, progress)
    scored = {result.task for result in report.results}
    missing = [task.id for task in rules.suite.tasks if task.id not in scored]
    if missing:
        console.note(f"Unscored, since the file has no predictions for their sets: {', '.join(missing)}.")
    show(console, report)
    _show_aggregates(console, report, rules.suite)
    console.note(f"Report: {place}")
    command = suggestion_of_predictions(rules, predictions, suite if _is_file(suite) else None)
    if command is not None and not missing and not unsupported(rules):
        console.next_step(command)


def _note_unscored(console: Console, suite: Suite, *, with_images: bool) -> None:
    """Name the tasks that were not run, and what they wait for."""

    def named(tasks: list[Task]) -> str:
        return ", ".join(f"{task.id} ({task.protocol.value}, {task.metric})" for task in tasks)

    waiting = [task for task in suite.tasks if not task.executable]
    if waiting:
        console.note(f"Unscored, since this version cannot run them: {named(waiting)}.")
    predicted = [task for task in suite.tasks if task.executable and task.protocol is Protocol.PREDICTIONS]
    if predicted:
        console.note(f"Unscored, since they ask for predictions and not for a model: {named(predicted)}.")
    about_images = [task for task in suite.tasks if task.executable and task.needs_images]
    if about_images and not with_images:
        console.note(
            f"Unscored, since they are about the entry's images: {named(about_images)}. "
            "Give the folder of these: --entry-data DIR."
        )


def show(console: Console, report: EvaluationReport) -> None:
    """Print an evaluation as a table (or JSON, without the single outcomes)."""
    rows = [
        [
            result.task,
            result.metric,
            format_score(Score(value=result.value, interval=result.interval)),
            str(result.samples),
            f"{result.seconds:.2f}",
        ]
        for result in report.results
    ]
    payload = report.model_dump(mode="json", exclude={"results": {"__all__": {"outcomes"}}})
    console.table(payload, report.suite, ["task", "metric", "value [95 % interval]", "images", "seconds"], rows)


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
