"""Running a suite on predictions that were made elsewhere: no model, no images, only labels."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from competition import __version__
from competition.data.digests import file_sha256
from competition.errors import UsageError
from competition.evaluation.predictions import read_predictions
from competition.evaluation.protocols import Subject
from competition.evaluation.run import ResultCallback, evaluate_task
from competition.evaluation.sets import ensure_sets
from competition.records.evaluation import EvaluationReport
from competition.rules.models import Competition
from competition.rules.predicted_sets import predicted_sets
from competition.rules.protocols import Protocol


def evaluate_predictions(
    predictions: Path, competition: Competition, root: Path, *, on_result: ResultCallback | None = None
) -> EvaluationReport:
    """Score a file of predictions on the tasks of the competition's suite that it has answers for.

    Every array of it is checked before the first task is scored.

    Args:
        predictions: an ``.npz``, see ``competition.evaluation.predictions``.
        competition: whose suite is run.
        root: folder of the evaluation sets, of which the labels are needed.
        on_result: called with every new result.

    Raises:
        UsageError: the suite has no task of predictions, or does not say what its sets are like.
        PredictionsError, DataFormatError: the file is not what the suite asks for.
        EvaluationError: a set is absent or damaged.
        StorageError: a file cannot be read.
    """
    suite = competition.suite
    sets = predicted_sets(suite)
    if not sets:
        raise UsageError(
            f"Suite {suite.reference} has no task of predictions.",
            hint=f"`datacup suites show {suite.reference}` says what it asks for.",
        )
    entered = read_predictions(predictions, sets)
    ensure_sets(suite.id, root)
    subject, results = Subject(predictions=predictions), []
    for task in suite.tasks:
        if task.protocol is Protocol.PREDICTIONS and task.dataset in entered:
            results.append(evaluate_task(subject, task, suite, root))
            if on_result is not None:
                on_result(results[-1])
    return EvaluationReport(
        competition=competition.id,
        suite=suite.reference,
        suite_digest=suite.digest,
        recipe=None,
        recipe_digest=None,
        model_sha256=None,
        predictions_sha256=file_sha256(predictions),
        results=tuple(results),
        code_version=__version__,
        finished_at=datetime.now(UTC),
    )
