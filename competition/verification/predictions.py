"""The predictions: an array for every test set of the suite, sound and of the shape that the rules say.

No labels are needed, so that participants make the same check before they upload. Whether the columns are in order
can be told with the labels only: that is found when the entry is scored (``competition.evaluation.predictions``).
"""

from __future__ import annotations

from competition.errors import DataFormatError, PredictionsError, RejectionError, RejectionReason
from competition.records.manifest import FileRole
from competition.rules import predicted_sets
from competition.verification.entry import Entry


def check_predictions(entry: Entry) -> None:
    """The file is a plain npz with an array of class ids, int64 [N, 5] when read, for every test set.

    Raises:
        RejectionError: see ``read_predictions``; or a test set is missing, as every task of the suite is scored.
        StorageError: it cannot be read.
    """
    from competition.evaluation.predictions import read_predictions

    file, path = entry.only(FileRole.PREDICTIONS)
    sets = predicted_sets(entry.competition.suite)
    try:
        found = read_predictions(path, sets, name=file.path)
    except PredictionsError as error:
        raise RejectionError(error.reason, error.message) from error
    except DataFormatError as error:
        raise RejectionError(RejectionReason.PREDICTIONS_MALFORMED, error.message) from error
    missing = [name for name in sets if name not in found]
    if missing:
        raise RejectionError(
            RejectionReason.PREDICTIONS_SETS_MISMATCH,
            f"{file.path} has no predictions for: {', '.join(missing)}. An entry predicts every test set.",
        )
