"""The predictions: an array for every test set of the suite, sound and of the shape that the rules say.

No labels are needed, so that participants make the same check before they upload. Whether the columns are in order
can be told with the labels only: that is found when the entry is scored (``competition.evaluation.predictions``).
"""

from __future__ import annotations

from pathlib import Path

from competition.errors import DataFormatError, PredictionsError, RejectionError, RejectionReason
from competition.records.manifest import FileRole
from competition.rules import Suite, predicted_sets
from competition.verification.entry import Entry, Findings


def check_predictions(entry: Entry) -> Findings:
    """The file is a plain npz with an array of class ids for every test set (raises as ``read_sets`` does)."""
    file, path = entry.only(FileRole.PREDICTIONS)
    read_sets(path, entry.competition.suite, file.path)
    sets = predicted_sets(entry.competition.suite)
    return {"sets": len(sets), "samples": sum(shape.samples for shape in sets.values())}


def read_sets(path: Path, suite: Suite, name: str) -> None:
    """Read the whole of a file of predictions, which messages call ``name``, and find it sound.

    Raises:
        RejectionError: see ``competition.evaluation.predictions.read_predictions``; or a test set is missing, as every
            task of the suite is scored.
        StorageError: it cannot be read.
    """
    from competition.evaluation.predictions import read_predictions

    sets = predicted_sets(suite)
    try:
        found = read_predictions(path, sets, name=name)
    except PredictionsError as error:
        raise RejectionError(error.reason, error.message) from error
    except DataFormatError as error:
        raise RejectionError(RejectionReason.PREDICTIONS_MALFORMED, error.message) from error
    missing = [each for each in sets if each not in found]
    if missing:
        raise RejectionError(
            RejectionReason.PREDICTIONS_SETS_MISMATCH,
            f"{name} has no predictions for: {', '.join(missing)}. An entry predicts every test set.",
        )
