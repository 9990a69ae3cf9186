"""Running a suite on predictions that were made elsewhere: no model, no images, only labels."""

from __future__ import annotations

from pathlib import Path

import torch

from competition.errors import UsageError
from competition.evaluation.entrants import PredictionFile
from competition.evaluation.predictions import read_predictions
from competition.evaluation.run import ResultCallback, evaluate
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
    tasks = [task.id for task in suite.tasks if task.protocol is Protocol.PREDICTIONS and task.dataset in entered]
    entrant, cpu = PredictionFile(predictions), torch.device("cpu")
    return evaluate(entrant, suite, root, competition=competition.id, only=tasks, on_result=on_result, devices=(cpu,))
