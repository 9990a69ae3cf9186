"""The training report: the recipe of the scale, run to its end, and this very model."""

from __future__ import annotations

from pydantic import ValidationError

from competition.errors import RejectionError, RejectionReason
from competition.records.manifest import FileRole
from competition.records.training import TrainingReport
from competition.verification.entry import Entry, shown

MAX_REPORT_BYTES = 1_000_000


def check_training(entry: Entry) -> None:
    """The report's recipe, steps and samples seen are the scale's, and its model is the one that is submitted."""
    name, report = _read(entry)
    recipe = entry.recipe
    model, _ = entry.only(FileRole.MODEL)
    expectations: list[tuple[str, object, object]] = [
        ("competition", entry.competition.id, report.competition),
        ("recipe", recipe.id, report.recipe),
        ("recipe_digest", recipe.digest, report.recipe_digest),
        ("steps", recipe.steps, report.steps),
        ("samples_seen", recipe.steps * recipe.global_batch, report.samples_seen),
    ]
    for field, expected, found in expectations:
        if expected != found:
            raise RejectionError(
                RejectionReason.RECIPE_MISMATCH,
                f"{name}: {field} is {shown(found)}, but recipe {recipe.id!r} has {shown(expected)}.",
            )
    if report.model_sha256 != model.sha256:
        raise RejectionError(
            RejectionReason.DIGEST_MISMATCH,
            f"{name} was written for a model with sha256 {report.model_sha256}, but {model.path} has {model.sha256}.",
        )


def _read(entry: Entry) -> tuple[str, TrainingReport]:
    file, path = entry.only(FileRole.TRAINING_REPORT)
    if file.size > MAX_REPORT_BYTES:
        raise RejectionError(
            RejectionReason.FILE_TOO_LARGE,
            f"{file.path} has {file.size} bytes; a training report may have at most {MAX_REPORT_BYTES}.",
        )
    try:
        return file.path, TrainingReport.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = shown(".".join(map(str, first["loc"]))).strip("'")
        raise RejectionError(
            RejectionReason.MANIFEST_MALFORMED,
            f"{file.path} is not a training report: {field}: {first['msg'].rstrip('.')[:400]}.",
        ) from error
