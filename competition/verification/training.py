"""The training report: the recipe of the scale, run to its end, and this very model."""

from __future__ import annotations

from competition.errors import RejectionError, RejectionReason
from competition.records.manifest import FileRole
from competition.records.training import TrainingReport
from competition.verification.entry import Entry, Findings, shown
from competition.verification.json_document import parse_record

MAX_REPORT_BYTES = 1_000_000


def check_training(entry: Entry) -> Findings:
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
    return {"recipe": recipe.id, "steps": report.steps, "samples_seen": report.samples_seen}


def check_training_data(entry: Entry) -> Findings:
    """The report does not tell of more samples than the subset has: some of it may be lost, but nothing is added.

    It comes after the check that the manifest counts the subset rightly.
    """
    name, report = _read(entry)
    subset = entry.manifest.subset_samples
    if subset is not None and report.data.samples > subset:
        raise RejectionError(
            RejectionReason.TRAINING_DATA_MISMATCH,
            f"{name}: the model was trained on {report.data.samples} samples, but the subset has {subset}.",
        )
    return {"samples": report.data.samples, "shards": report.data.shards}


def _read(entry: Entry) -> tuple[str, TrainingReport]:
    file, path = entry.only(FileRole.TRAINING_REPORT)
    if file.size > MAX_REPORT_BYTES:
        raise RejectionError(
            RejectionReason.FILE_TOO_LARGE,
            f"{file.path} has {file.size} bytes; a training report may have at most {MAX_REPORT_BYTES}.",
        )
    reason = RejectionReason.MANIFEST_MALFORMED
    raw, what = path.read_bytes(), "a training report"
    return file.path, parse_record(TrainingReport, raw, name=file.path, what=what, reason=reason)
