"""One tree of errors. Every error a user can meet says what went wrong, where, and what to do next.

Command lines print ``message`` and ``hint`` and exit with ``exit_code``; the API answers ``http_status`` with
``{"error": {"code", "message", "hint", ...}}``. A bug stays an ordinary Python exception and keeps its traceback.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class DataCupError(Exception):
    """Base of everything DataCup raises on purpose.

    ``message`` is one clear sentence: what happened and where. ``hint`` says what to do about it.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 400

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(DataCupError):
    """The command or request asks for something that does not exist or does not fit together."""

    code = "usage"
    exit_code = 2


class RulesError(DataCupError):
    """A competition file or a pipeline file is malformed; the message names file and line."""

    code = "rules"
    exit_code = 2


class DataFormatError(DataCupError):
    """A file on disk (tar, parquet, npz, npy, json) is not what its format promises."""

    code = "data_format"
    exit_code = 3


class StorageError(DataCupError):
    """The disk is full or a path cannot be read or written."""

    code = "storage"
    exit_code = 4


class EngineError(DataCupError):
    """Work over shards did not complete; the message names the failed shards."""

    code = "engine"
    exit_code = 5


class TrainingError(DataCupError):
    """Training cannot start or go on (bad shards, NaN loss, a checkpoint of another recipe)."""

    code = "training"
    exit_code = 6


class DivergedError(TrainingError):
    """A loss or a weight is no number any more. The last good checkpoint is kept."""

    code = "diverged"
    exit_code = 10


class EvaluationError(DataCupError):
    """A model or an evaluation set cannot be evaluated."""

    code = "evaluation"
    exit_code = 7


class ModelOutputError(EvaluationError):
    """A model of sound, finite weights yields something that is not finite: the model is at fault, not the set."""


class EmptySetError(EvaluationError):
    """A set, or a group of it that a metric needs, holds nothing to average over."""


class LabelRangeError(EvaluationError):
    """A label or a group of an evaluation set is not one of those that there are."""


class PredictionsError(EvaluationError):
    """An entry's predictions are not what their test set asks for: shape, type, range, order or name.

    ``reason`` is the one for which an entry with these predictions ends ``invalid``.
    """

    def __init__(self, message: str, reason: RejectionReason, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class ServiceUnavailableError(DataCupError):
    """The leaderboard or the Hub cannot be reached; trying again later can work."""

    code = "unavailable"
    exit_code = 8
    http_status = 503


class AuthenticationError(DataCupError):
    """No token, an unknown token, or an expired one."""

    code = "unauthenticated"
    exit_code = 9
    http_status = 401


class PermissionDeniedError(DataCupError):
    """The token is good but its scopes or its account do not allow this."""

    code = "forbidden"
    exit_code = 9
    http_status = 403


class NotFoundError(DataCupError):
    """The named thing does not exist, or the caller may not know that it does."""

    code = "not_found"
    exit_code = 2
    http_status = 404


class ConflictError(DataCupError):
    """The state changed in the meantime, or the request contradicts an earlier one."""

    code = "conflict"
    http_status = 409


class StaleAttemptError(ConflictError):
    """A worker reported under an attempt that is no longer the live one (its lease ended)."""

    code = "stale_attempt"


class QuotaError(DataCupError):
    """The account has as many entries as the phase allows; the message says when another one may come."""

    code = "quota"
    exit_code = 10
    http_status = 429


class ValidationFailedError(DataCupError):
    """A request body does not have the promised shape; the message names the field."""

    code = "validation"
    exit_code = 2
    http_status = 422


class LogBrokenError(DataCupError):
    """The hash chain of a submission's log does not hold: somebody changed it."""

    code = "log_broken"
    exit_code = 11


class RejectionReason(StrEnum):
    """Why an entry ended ``invalid``. The same words in the kit, the scorer, the API, the site and the docs."""

    REPOSITORY_NOT_FOUND = "repository_not_found"
    MANIFEST_MISSING = "manifest_missing"
    MANIFEST_MALFORMED = "manifest_malformed"
    MANIFEST_MISMATCH = "manifest_mismatch"
    PATH_NOT_ALLOWED = "path_not_allowed"
    FILE_MISSING = "file_missing"
    FILE_TOO_LARGE = "file_too_large"
    SIZE_MISMATCH = "size_mismatch"
    DIGEST_MISMATCH = "digest_mismatch"
    SUBSET_MALFORMED = "subset_malformed"
    SUBSET_UNSORTED = "subset_unsorted"
    SUBSET_FOREIGN_UIDS = "subset_foreign_uids"
    SUBSET_COUNT_MISMATCH = "subset_count_mismatch"
    EXTERNAL_TABLE_MALFORMED = "external_table_malformed"
    EXTERNAL_SHARD_MALFORMED = "external_shard_malformed"
    EXTERNAL_IMAGE_MALFORMED = "external_image_malformed"
    EXTERNAL_TOO_LARGE = "external_too_large"
    EXTERNAL_COUNT_MISMATCH = "external_count_mismatch"
    CONTAMINATED = "contaminated"
    LINEAGE_MALFORMED = "lineage_malformed"
    LINEAGE_MISMATCH = "lineage_mismatch"
    RECIPE_MISMATCH = "recipe_mismatch"
    TRAINING_DATA_MISMATCH = "training_data_mismatch"
    EVALUATION_MALFORMED = "evaluation_malformed"
    EVALUATION_MISMATCH = "evaluation_mismatch"
    MODEL_MALFORMED = "model_malformed"
    MODEL_SHAPE_MISMATCH = "model_shape_mismatch"
    MODEL_NOT_FINITE = "model_not_finite"
    PREDICTIONS_MALFORMED = "predictions_malformed"
    PREDICTIONS_SETS_MISMATCH = "predictions_sets_mismatch"
    PREDICTIONS_SHAPE_MISMATCH = "predictions_shape_mismatch"
    PREDICTIONS_TRANSPOSED = "predictions_transposed"
    PREDICTIONS_OUT_OF_RANGE = "predictions_out_of_range"
    PREDICTIONS_REPEATED = "predictions_repeated"
    PREDICTIONS_REVERSED = "predictions_reversed"
    PREDICTIONS_DISORDERED = "predictions_disordered"

    @property
    def hint(self) -> str:
        """What the participant can do about it."""
        return _REJECTION_HINTS[self]


_REBUILD = "Run `datacup submit` again from the run's output folder: it rebuilds the manifest from the files."

_REJECTION_HINTS: dict[RejectionReason, str] = {
    RejectionReason.REPOSITORY_NOT_FOUND: (
        "Check that the repository is public (or open to the scorer) and that the revision exists, then submit again."
    ),
    RejectionReason.MANIFEST_MISSING: _REBUILD,
    RejectionReason.MANIFEST_MALFORMED: _REBUILD,
    RejectionReason.MANIFEST_MISMATCH: "The manifest was made for another registration. " + _REBUILD,
    RejectionReason.PATH_NOT_ALLOWED: "List only plain files inside the submission folder. " + _REBUILD,
    RejectionReason.FILE_MISSING: "A file of the manifest is not in the repository at the registered revision. "
    + _REBUILD,
    RejectionReason.FILE_TOO_LARGE: "Entries are limited in size; remove what does not belong to this one.",
    RejectionReason.SIZE_MISMATCH: "The file was changed after the manifest was written. " + _REBUILD,
    RejectionReason.DIGEST_MISMATCH: "The file was changed after the manifest was written. " + _REBUILD,
    RejectionReason.SUBSET_MALFORMED: "Save the subset with `datacup subset`, or as a 1-D `.npy` of dtype `u8,u8`.",
    RejectionReason.SUBSET_UNSORTED: "Sort the uids as unsigned pairs (`numpy.sort`) before saving the subset.",
    RejectionReason.SUBSET_FOREIGN_UIDS: "Keep only uids of this scale's pool; was the subset made for another scale?",
    RejectionReason.SUBSET_COUNT_MISMATCH: "The subset's length differs from the manifest's. " + _REBUILD,
    RejectionReason.EXTERNAL_TABLE_MALFORMED: (
        "Write parquet with four text columns (url, caption, sha256, licence), in row groups of at most 100,000 rows."
    ),
    RejectionReason.EXTERNAL_SHARD_MALFORMED: "Write shards with `datacup pool import` or `datacup reshard`.",
    RejectionReason.EXTERNAL_IMAGE_MALFORMED: "Leave out images that cannot be decoded, or are too large.",
    RejectionReason.EXTERNAL_TOO_LARGE: "Enter fewer samples, or smaller images: external data are limited.",
    RejectionReason.EXTERNAL_COUNT_MISMATCH: "The external data are not as many as the manifest says. " + _REBUILD,
    RejectionReason.CONTAMINATED: (
        "Remove test images and near copies of them (`datacup dedup decontaminate`), then train again."
    ),
    RejectionReason.LINEAGE_MALFORMED: "Submit the `dataset.json` that `datacup build` wrote, unchanged.",
    RejectionReason.LINEAGE_MISMATCH: "Submit the subset that lies beside this `dataset.json`, or no lineage at all.",
    RejectionReason.RECIPE_MISMATCH: "Train with `datacup train --scale` of the scale you enter; recipes are fixed.",
    RejectionReason.TRAINING_DATA_MISMATCH: "Train on the subset that you submit, with its own shards and no others.",
    RejectionReason.EVALUATION_MALFORMED: "Submit the `evaluation_report.json` that `datacup evaluate` wrote, or none.",
    RejectionReason.EVALUATION_MISMATCH: "Run `datacup evaluate` on the model that you submit, then submit again.",
    RejectionReason.MODEL_MALFORMED: "Submit the `model.safetensors` that `datacup train` wrote, unchanged.",
    RejectionReason.MODEL_SHAPE_MISMATCH: "Train with this scale's recipe: the weights are not those of its model.",
    RejectionReason.MODEL_NOT_FINITE: "Training diverged (NaN or infinity): check the data and train again.",
    RejectionReason.PREDICTIONS_MALFORMED: (
        "Save plain integers, an array for each test set, with `numpy.savez_compressed(path, **{SET: array})`."
    ),
    RejectionReason.PREDICTIONS_SETS_MISMATCH: "Save one array for every test set, named as the set, and no other.",
    RejectionReason.PREDICTIONS_SHAPE_MISMATCH: "Save a row for every sample of the set and five columns.",
    RejectionReason.PREDICTIONS_TRANSPOSED: "Save `array.T`: a row is a sample, a column is a rank.",
    RejectionReason.PREDICTIONS_OUT_OF_RANGE: (
        "A class id is the position of the class in the set's list of classes, from 0 on."
    ),
    RejectionReason.PREDICTIONS_REPEATED: "Name five different classes in every row.",
    RejectionReason.PREDICTIONS_REVERSED: "Save `array[:, ::-1]`: the best class comes first.",
    RejectionReason.PREDICTIONS_DISORDERED: "Sort each row by the model's score, the best class first.",
}


class RejectionError(DataCupError):
    """An entry breaks a rule: it ends ``invalid``, no quota is charged."""

    code = "rejected"
    exit_code = 10

    def __init__(self, reason: RejectionReason, message: str) -> None:
        super().__init__(message, hint=reason.hint)
        self.reason = reason
