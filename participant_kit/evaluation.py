"""The official evaluation of a run, task by task: what is finished is kept, so a killed evaluation goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import ValidationError

from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.errors import DataFormatError, EvaluationError, UsageError
from competition.progress import Progress, ProgressHook
from competition.records.evaluation import EvaluationReport, TaskResult
from competition.records.training import TrainingReport
from competition.rules import Competition, Protocol, Recipe, all_recipes

REPORT_FILE = "evaluation_report.json"
_PARTS = "evaluation"


def evaluate_run(
    run_dir: Path,
    rules: Competition,
    evaluation_root: Path,
    progress: ProgressHook,
    *,
    entry_data: Path | None = None,
) -> EvaluationReport:
    """Evaluate a finished run under the suite of ``rules``, and write its report.

    Tasks that this version cannot score stay unscored, and so do those about the entry's images where they are not
    given.

    Args:
        run_dir: of the run.
        rules: whose suite is run.
        evaluation_root: folder of the evaluation sets.
        progress: told about every task.
        entry_data: folder of the entry's images, as ``open_entry_images`` reads it.

    Raises:
        UsageError: the folder holds no finished run, or no task can be run.
        EvaluationError: the model or the entry's images cannot be evaluated.
    """
    training = read_training_report(run_dir)
    model = run_dir / "model.safetensors"
    if not model.is_file():
        raise UsageError(f"There are no weights in {run_dir}.", hint="Train with `datacup train`, and let it finish.")
    runs = _tasks_to_run(rules, with_images=entry_data is not None)
    parts = run_dir / _PARTS / file_sha256(model)[:16] / rules.suite.digest[:16]
    images = None
    if entry_data is not None:
        from competition.evaluation.entry_images import open_entry_images
        from competition.evaluation.sets import CACHE_FOLDER

        images = open_entry_images(entry_data, evaluation_root / CACHE_FOLDER)
        parts /= images.digest[:16]
    done = _finished_tasks(parts, rules)
    total = len(runs)
    progress(Progress("evaluating", len(done), total, resumed=len(done)))

    def keep(result: TaskResult) -> None:
        write_bytes(parts / f"{result.task}.json", result.model_dump_json().encode())
        done.append(result)
        progress(Progress("evaluating", len(done), total, task=f"{result.task} {result.value:.3f}"))

    from competition.evaluation.run import evaluate_suite

    make_folder(parts)
    recipe = recipe_of(training, rules)
    report = evaluate_suite(
        model, rules, recipe, evaluation_root, only=runs, images=images, done=tuple(done), on_result=keep
    )
    write_bytes(run_dir / REPORT_FILE, report.model_dump_json(indent=2).encode())
    with storage_errors("removing", parts):
        shutil.rmtree(run_dir / _PARTS)
    return report


def _tasks_to_run(rules: Competition, *, with_images: bool) -> list[str]:
    """Ids of the suite's tasks that can be scored (raises ``UsageError`` where there is none)."""
    of_models = [task for task in rules.suite.tasks if task.protocol is not Protocol.PREDICTIONS]
    if not of_models:
        raise UsageError(
            f"Suite {rules.suite.reference} asks for predictions, and not for a model.",
            hint=f"`datacup evaluate --predictions FILE.npz --suite {rules.suite.reference}` scores them.",
        )
    executable = [task for task in of_models if task.executable]
    runs = [task.id for task in executable if with_images or not task.needs_images]
    if executable and not runs:
        raise UsageError(
            f"All tasks of suite {rules.suite.reference} that can be run are about the entry's images.",
            hint="Give their folder: --entry-data DIR",
        )
    if not runs:
        raise UsageError(
            f"This version of DataCup runs none of the protocols of suite {rules.suite.reference}.",
            hint=f"`datacup suites show {rules.suite.reference}` lists them.",
        )
    return runs


def read_training_report(run_dir: Path) -> TrainingReport:
    """The report of a finished run (raises ``UsageError`` when there is none)."""
    path = run_dir / "training_report.json"
    try:
        return TrainingReport.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(
            f"{run_dir} holds no finished run.", hint="Train one with `datacup train`, and let it finish."
        ) from error
    except ValidationError as error:
        hint = "Delete it and run `datacup train` of that run again: what is trained is kept."
        raise DataFormatError(f"{path} is not a training report.", hint=hint) from error


def recipe_of(training: TrainingReport, rules: Competition) -> Recipe:
    """The recipe that a run was trained with: the competition's, or a built-in one beside it.

    Raises ``EvaluationError`` when there is none with its digest.
    """
    for recipe in (*rules.recipes, *(recipe for _, recipe in all_recipes().values())):
        if recipe.digest == training.recipe_digest:
            return recipe
    listed = ", ".join(recipe.id for recipe in rules.recipes)
    raise EvaluationError(
        f"The run's recipe {training.recipe!r} is not one of competition {rules.id!r} as it is now.",
        hint=f"It scores runs of: {listed}. Train one of these again." if listed else "It trains nothing itself.",
    )


def _finished_tasks(parts: Path, rules: Competition) -> list[TaskResult]:
    """Results that an interrupted evaluation of the same weights and suite left behind."""
    known = {task.id for task in rules.suite.tasks}
    results = []
    for path in sorted(parts.glob("*.json")):
        try:
            result = TaskResult.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise DataFormatError(f"{path} is not a task's result.", hint=f"Delete {path} and run again.") from error
        if result.task in known:
            results.append(result)
    return results
