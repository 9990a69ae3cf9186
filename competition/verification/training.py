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
    """The report tells of the external shards, each with its samples, and of no more others than the entry names.

    Some of it may be lost, but nothing is added: images of the subset and of tables can only be counted, as their
    shards are no part of the entry. It comes after the checks that the manifest counts them rightly.
    """
    name, report = _read(entry)
    trained = report.data.samples
    shards = {file.sha256: file.path for file, _ in entry.all(FileRole.EXTERNAL_SHARD)}
    if shards:
        trained -= _samples_of_shards(report, shards, entry.manifest.external_samples or 0, name)
    named = (entry.manifest.subset_samples or 0) + (entry.manifest.external_rows or 0)
    if trained > named:
        whole = "the subset" if not entry.own else "subset and tables together"
        besides = " besides the external shards" if shards else ""
        raise RejectionError(
            RejectionReason.TRAINING_DATA_MISMATCH,
            f"{name}: the model was trained on {trained} samples{besides}, but {whole} has {named}.",
        )
    return {"samples": report.data.samples, "shards": report.data.shards}


def _samples_of_shards(report: TrainingReport, shards: dict[str, str], expected: int, name: str) -> int:
    """The samples that were trained on of the external shards, by their sha256: all that these have."""
    parts, problem = report.data.parts, ""
    known = {part.sha256 for part in parts}
    found = sum(part.samples for part in parts if part.sha256 in shards)
    missing = [path for sha256, path in shards.items() if sha256 not in known]
    if missing:
        problem = f"does not name {missing[0]} (by its sha256) among the parts of the training data"
    elif sum(part.samples for part in parts) != report.data.samples:
        problem = f"says that the data have {report.data.samples} samples, and its parts have others in sum"
    elif found != expected:
        problem = f"says that {found} samples of the external shards were trained on, and these have {expected}"
    if problem:
        raise RejectionError(RejectionReason.TRAINING_DATA_MISMATCH, f"{name} {problem}.")
    return found


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
