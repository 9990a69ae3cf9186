"""The official evaluation of a run, task by task: what is finished is kept, so a killed evaluation goes on."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from competition.canonical import digest
from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.errors import DataFormatError, EvaluationError, UsageError
from competition.progress import Progress, ProgressHook
from competition.records.evaluation import EvaluationReport, TaskResult
from competition.records.training import TrainingReport
from competition.rules import Competition, Recipe, Suite, all_recipes
from participant_kit.evaluation_plan import plan

if TYPE_CHECKING:
    from competition.evaluation.entrants import Entrant

REPORT_FILE = "evaluation_report.json"
_PARTS = "evaluation"
_TRAINING_REPORT = "training_report.json"


def evaluate_run(
    run_dir: Path,
    rules: Competition,
    evaluation_root: Path,
    progress: ProgressHook,
    *,
    only: Collection[str] | None = None,
    entry_data: Path | None = None,
) -> EvaluationReport:
    """Evaluate a finished run under the suite of ``rules``, and write its report.

    Args:
        run_dir: of the run.
        rules: whose suite is run.
        evaluation_root: folder of the evaluation sets.
        progress: told about every task.
        only: ids of the tasks to run; when absent, all that ``evaluation_plan.plan`` finds possible.
        entry_data: folder of the entry's images, as ``open_entry_images`` reads it.

    Raises:
        UsageError: the folder holds no finished run, or no task can be run.
        EvaluationError: the model or the entry's images cannot be evaluated.
    """
    training = read_training_report(run_dir)
    model = run_dir / "model.safetensors"
    if not model.is_file():
        raise UsageError(f"There are no weights in {run_dir}.", hint="Train with `datacup train`, and let it finish.")
    if only is None:
        only = plan(rules.suite, evaluation_root, with_images=entry_data is not None).runs
    from competition.evaluation.entrants import TrainedModel

    images = None
    if entry_data is not None:
        from competition.evaluation.entry_images import open_entry_images
        from competition.evaluation.sets import CACHE_FOLDER

        images = open_entry_images(entry_data, evaluation_root / CACHE_FOLDER)
    entrant = TrainedModel(recipe_of(training, rules), model, images)
    return _evaluate(entrant, run_dir, rules.suite, _Asked(rules.id, evaluation_root, only), progress)


def evaluate_reference(
    name: str,
    weights: Path | None,
    folder: Path,
    suite: Suite,
    evaluation_root: Path,
    progress: ProgressHook,
    *,
    only: Collection[str] | None = None,
) -> EvaluationReport:
    """Evaluate a published model under a suite, and write its report into a folder that is made for it.

    Args:
        name: ``timm:NAME`` or ``open_clip:NAME/TAG``.
        weights: a safetensors file instead of the published weights.
        folder: may hold an earlier report of a reference model, which is replaced, and no run.
        suite: what is evaluated.
        evaluation_root: folder of the evaluation sets.
        progress: told how far it is.
        only: see ``evaluate_run``.

    Raises:
        UsageError: the folder is a run's, or there is no such model, or no task can be run.
        EvaluationError: its weights cannot be had, or it cannot be evaluated.
    """
    if (folder / _TRAINING_REPORT).exists():
        raise UsageError(f"{folder} is the folder of a run.", hint="Choose another --output-dir.")
    if only is None:
        only = plan(suite, evaluation_root).runs
    from competition.evaluation.entrants import ReferenceModel

    return _evaluate(ReferenceModel(name, weights), folder, suite, _Asked(None, evaluation_root, only), progress)


@dataclass(frozen=True, slots=True)
class _Asked:
    """For which competition, with the sets of which folder, and which tasks."""

    competition: str | None
    root: Path
    only: Collection[str]


def _evaluate(entrant: Entrant, folder: Path, suite: Suite, asked: _Asked, progress: ProgressHook) -> EvaluationReport:
    parts = folder / _PARTS / digest(entrant.named())[:16] / suite.digest[:16]
    done = [result for result in _finished_tasks(parts, suite) if result.task in asked.only]
    total = len(asked.only)
    progress(Progress("evaluating", len(done), total, resumed=len(done)))

    def keep(result: TaskResult) -> None:
        write_bytes(parts / f"{result.task}.json", result.model_dump_json().encode())
        done.append(result)
        progress(Progress("evaluating", len(done), total, task=f"{result.task} {result.value:.3f}"))

    from competition.evaluation.run import evaluate

    make_folder(parts)
    report = evaluate(
        entrant,
        suite,
        asked.root,
        competition=asked.competition,
        only=asked.only,
        done=tuple(done),
        on_result=keep,
    )
    write_bytes(folder / REPORT_FILE, report.model_dump_json(indent=2).encode())
    with storage_errors("removing", parts):
        shutil.rmtree(folder / _PARTS)
    return report


def read_training_report(run_dir: Path) -> TrainingReport:
    """The report of a finished run (raises ``UsageError`` when there is none)."""
    path = run_dir / _TRAINING_REPORT
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


def _finished_tasks(parts: Path, suite: Suite) -> list[TaskResult]:
    """Results that an interrupted evaluation of the same weights and suite left behind."""
    known = {task.id for task in suite.tasks}
    results = []
    for path in sorted(parts.glob("*.json")):
        try:
            result = TaskResult.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise DataFormatError(f"{path} is not a task's result.", hint=f"Delete {path} and run again.") from error
        if result.task in known:
            results.append(result)
    return results
