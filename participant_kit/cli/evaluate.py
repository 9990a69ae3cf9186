"""``datacup evaluate``: the official evaluation on this machine, with the code that the scorer runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from competition.errors import EvaluationError, UsageError
from competition.records.evaluation import EvaluationReport, Interval
from competition.records.submission import Score
from competition.records.training import TrainingReport
from competition.rules import Competition, Suite, built_in, find_competition, find_suite, unsupported
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.standings import format_score
from participant_kit.cli.submit import suggestion, suggestion_of_predictions
from participant_kit.evaluation_plan import Plan, plan
from participant_kit.settings import KitSettings

if TYPE_CHECKING:
    from competition.rules.uncertainty import UncertainAggregate

_PUBLISHED = ("timm:", "open_clip:")


RunOption = Annotated[
    Path | None, typer.Option("--train-output-dir", help="The run's folder: <output-dir>/<exp-name>.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="The run's folder, or its name under ./runs; or a published model: timm:NAME, open_clip:NAME/TAG.",
    ),
]
PredictionsOption = Annotated[
    Path | None,
    typer.Option("--predictions", help="Predictions instead of a run: an .npz file, see docs/entry-format.md."),
]
SuiteOption = Annotated[
    str | None,
    typer.Option("--suite", help="A suite, or a competition's YAML file; default: that of the run's competition."),
]
OnlyOption = Annotated[
    list[str] | None, typer.Option("--only", help="A task of the suite, instead of all; may be repeated.")
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the evaluation sets; default: evaluation/ in DATACUP_CACHE."),
]
EntryDataOption = Annotated[
    Path | None,
    typer.Option(
        "--entry-data", help="Folder of the entry's images, for tasks about them: shards, or a folder for each class."
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", help="A .safetensors file for the published model; default: its own, from the Hub."),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output-dir", help="Where the published model's report goes; default: under ./runs.")
]


@dataclass(frozen=True, slots=True)
class _Published:
    """A published model, a file to take its weights from, and where its report goes."""

    name: str
    weights: Path | None
    output_dir: Path | None

    @property
    def folder(self) -> Path:
        return self.output_dir or Path("runs") / self.name.replace(":", "-").replace("/", "-")


def command(
    run_dir: RunOption = None,
    model: ModelOption = None,
    predictions: PredictionsOption = None,
    suite: SuiteOption = None,
    only: OnlyOption = None,
    data_dir: DataOption = None,
    entry_data: EntryDataOption = None,
    weights: WeightsOption = None,
    output_dir: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the official evaluation of a run, a model or predictions.

    Finished tasks are kept: a killed evaluation goes on with the next task. Tasks whose evaluation sets are not there
    stay unscored, and the exit code says so.
    """
    console = Console(as_json=as_json)
    root = data_dir or KitSettings().evaluation_root
    published = model is not None and model.startswith(_PUBLISHED)
    _refuse_idle({"--weights": weights, "--output-dir": output_dir}, published, "a published model")
    of_run = not published and predictions is None
    _refuse_idle({"--entry-data": entry_data}, of_run, "a run")
    if predictions is not None:
        _refuse_idle({"--only": only or None}, False, "a model")
        _evaluate_predictions(console, predictions, suite, root, of_run=bool(run_dir or model))
    elif model is not None and published:
        if run_dir is not None or suite is None:
            raise UsageError(
                "A published model is evaluated by --model and --suite.", hint="For example: --suite datacomp-38"
            )
        _evaluate_published(console, _Published(model, weights, output_dir), suite, root, only or ())
    else:
        _evaluate_run(console, _run_folder(run_dir, model), suite, root, only or (), entry_data)


def _evaluate_published(console: Console, model: _Published, suite: str, root: Path, only: Sequence[str]) -> None:
    from competition.evaluation.reference_models import check_reference
    from participant_kit.evaluation import REPORT_FILE, evaluate_reference

    check_reference(model.name)
    rules = find_competition(suite).suite if _is_file(suite) else find_suite(suite)
    chosen = plan(rules, root, only=only, named=_file(suite))
    with console.progress("Evaluating") as progress:
        report = evaluate_reference(model.name, model.weights, model.folder, rules, root, progress, only=chosen.runs)
    _show_all(console, report, rules, chosen)
    console.note(f"The report is {model.folder / REPORT_FILE}.")
    _require_all(_file(suite) or rules.reference, root, chosen)


def _evaluate_run(
    console: Console, run: Path, suite: str | None, root: Path, only: Sequence[str], entry_data: Path | None
) -> None:
    from participant_kit.evaluation import evaluate_run, read_training_report

    training = read_training_report(run)
    rules = _competition_of_run(training.competition) if suite is None else _competition_of_suite(suite, training)
    chosen = plan(rules.suite, root, only=only, with_images=entry_data is not None, named=_file(suite))
    with console.progress("Evaluating") as progress:
        report = evaluate_run(run, rules, root, progress, only=chosen.runs, entry_data=entry_data)
    _show_all(console, report, rules.suite, chosen)
    _require_all(_file(suite) or rules.suite.reference, root, chosen)
    if not only and not unsupported(rules) and any(scale.recipe == training.recipe for scale in rules.scales):
        console.next_step(suggestion(rules, training.recipe, run, file=_file(suite)))


def _evaluate_predictions(console: Console, predictions: Path, suite: str | None, root: Path, *, of_run: bool) -> None:
    if suite is None or of_run:
        raise UsageError(
            "Predictions are scored without a run, under a suite that is named.",
            hint="For example: --predictions FILE.npz --suite imagenetv2",
        )

    from participant_kit.predictions import evaluate_file, rules_of_suite

    rules = rules_of_suite(suite)
    with console.progress("Scoring") as progress:
        report, place = evaluate_file(predictions, rules, root, progress)
    scored = {result.task for result in report.results}
    missing = [task.id for task in rules.suite.tasks if task.id not in scored]
    if missing:
        console.note(f"Unscored, since the file has no predictions for their sets: {', '.join(missing)}.")
    show(console, report, rules.suite)
    console.note(f"Report: {place}")
    command = suggestion_of_predictions(rules, predictions, _file(suite))
    if command is not None and not missing and not unsupported(rules):
        console.next_step(command)


def _refuse_idle(given: Mapping[str, object], useful: bool, what: str) -> None:
    """Refuse options that would have no effect."""
    named = [name for name, value in given.items() if value is not None]
    if named and not useful:
        raise UsageError(f"{named[0]} goes with {what}.", hint="`datacup evaluate --help` says which option does what.")


def _show_all(console: Console, report: EvaluationReport, suite: Suite, chosen: Plan) -> None:
    for each in chosen.unscored:
        console.note(each.sentence)
    show(console, report, suite)


def _require_all(named: str, root: Path, chosen: Plan) -> None:
    """What is there was evaluated; that something was not there must not pass for success.

    ``named`` is how a command names the suite.
    """
    if chosen.missing:
        sets = ", ".join(chosen.missing)
        raise EvaluationError(
            f"The results are kept, but evaluation sets are not in {root}: {sets}.",
            hint=f"`datacup evalsets list {named}` says how to get them; or name the tasks to run: --only.",
        )


def show(console: Console, report: EvaluationReport, suite: Suite) -> None:
    """Print an evaluation with its aggregates as tables (or JSON, without the single outcomes)."""
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
    found = _aggregates(report, suite)
    payload = report.model_dump(mode="json", exclude={"results": {"__all__": {"outcomes"}}})
    payload["aggregates"] = [
        {"id": each.found.aggregate, "value": each.found.value, "interval": _interval(each), "note": each.found.note}
        for each in found
    ]
    columns = ["task", "metric", "value [95 % interval]", "images", "seconds", "images/s"]
    for result in report.results:
        if result.unreadable:
            console.note(f"{result.task}: {result.unreadable} images cannot be decoded, and were left out.")
    console.table(payload, report.suite, columns, rows)
    if not console.as_json:
        titles = {aggregate.id: aggregate.title for aggregate in suite.aggregates}
        console.pairs({}, {titles[each.found.aggregate]: _aggregate_text(each) for each in found})


def _aggregates(report: EvaluationReport, suite: Suite) -> tuple[UncertainAggregate, ...]:
    from competition.rules.uncertainty import uncertain_aggregates

    return uncertain_aggregates(suite, report.results)


def _interval(aggregate: UncertainAggregate) -> dict[str, Any] | None:
    spread = aggregate.spread
    if spread is None:
        return None
    return Interval(low=spread.low, high=spread.high, method="bootstrap").model_dump(mode="json")


def _aggregate_text(aggregate: UncertainAggregate) -> str:
    if aggregate.found.value is None:
        return aggregate.found.note
    spread = aggregate.spread
    interval = "" if spread is None else f" [{spread.low:.4f}, {spread.high:.4f}]"
    return f"{aggregate.found.value:.4f}{interval}"


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


def _file(suite: str | None) -> str | None:
    """The file of a suite, as it was typed; nothing for a built-in one."""
    return suite if _is_file(suite) else None


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
