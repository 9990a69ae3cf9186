"""Predictions as a participant has them: scored on this machine, and entered.

A file of predictions needs no run: any model may have made it, here or elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from competition.client import LeaderboardClient
from competition.data.atomic import make_folder, write_bytes
from competition.data.digests import file_sha256
from competition.errors import RejectionError, RejectionReason, UsageError
from competition.progress import Progress, ProgressHook
from competition.records.evaluation import EvaluationReport, TaskResult
from competition.records.lifecycle import Processing
from competition.records.manifest import FileRole, SubmissionManifest
from competition.records.submission import SubmissionTicket, SubmissionView
from competition.rules import (
    Competition,
    EntryKind,
    Scale,
    Track,
    built_in,
    find_competition,
    find_suite,
    predicted_sets,
)
from competition.verification import check_submission
from participant_kit import card, entering
from participant_kit.entering import Notify
from participant_kit.hub import HubTarget

PREDICTIONS_NAME = "predictions.npz"


def evaluate_file(
    file: Path, rules: Competition, evaluation_root: Path, progress: ProgressHook
) -> tuple[EvaluationReport, Path]:
    """Score a file of predictions under the suite of ``rules``; the report and where it was written.

    Test sets that the file leaves out stay unscored.

    Raises:
        UsageError: there is no such file, or the suite has no task of predictions.
        PredictionsError: see ``competition.evaluation.predictions``.
        EvaluationError: the labels of a set are not there, or are damaged.
    """
    require_file(file)
    total = sum(task.dataset in predicted_sets(rules.suite) for task in rules.suite.tasks)
    done = 0
    progress(Progress("evaluating", 0, total))

    def count(result: TaskResult) -> None:
        nonlocal done
        done += 1
        progress(Progress("evaluating", done, total, task=f"{result.task} {result.value:.3f}"))

    from competition.evaluation.run_predictions import evaluate_predictions

    report = evaluate_predictions(file, rules, evaluation_root, on_result=count)
    place = report_place(file)
    write_bytes(place, report.model_dump_json(indent=2).encode())
    return report, place


def report_place(file: Path) -> Path:
    """Where the evaluation report of a file of predictions goes: beside it."""
    return file.with_name(f"{file.stem}.evaluation_report.json")


def rules_of_suite(suite: str) -> Competition:
    """The rules under which predictions for a suite are scored: those in a competition's file, or the built-in
    competition that has the suite and takes predictions (raises ``UsageError`` when there is none)."""
    if suite.endswith((".yaml", ".yml")):
        return find_competition(suite)
    chosen = find_suite(suite)
    for found in map(find_competition, built_in()):
        if found.suite.digest == chosen.digest and any(track.entry is EntryKind.PREDICTIONS for track in found.tracks):
            return found
    raise UsageError(
        f"No built-in competition takes predictions for suite {chosen.reference}.",
        hint="Take the suite imagenetv2, or the YAML file of a competition that takes predictions.",
    )


def require_file(file: Path) -> None:
    """Raise ``UsageError`` when there is no such file of predictions."""
    if not file.is_file():
        raise UsageError(
            f"There are no predictions in {file}.", hint="Name an .npz file; docs/entry-format.md says how."
        )


@dataclass(frozen=True)
class PredictionsEntry:
    """What a participant enters: a file of predictions, and how the method is called that made them."""

    competition: Competition
    track: Track
    scale: Scale
    file: Path
    method_name: str
    author: str
    description: str


def submit(entry: PredictionsEntry, client: LeaderboardClient, hub: HubTarget, notify: Notify) -> SubmissionView:
    """Enter predictions: check, register, assemble, check the folder, upload, announce.

    Repeating an interrupted call goes on where it stopped; what was entered is not entered again.

    Raises:
        UsageError: there is no such file.
        RejectionError: the predictions break a rule; reason and message are those that the scorer would give.
    """
    require_file(entry.file)
    check_file(entry)
    ticket = entering.register(entry, hub, {"predictions": file_sha256(entry.file)}, client)
    if ticket.processing is not Processing.DRAFT:
        notify(f"Already entered as {ticket.submission_id}")
        return client.submission(ticket.submission_id)
    notify(f"Registered as {ticket.submission_id}")
    folder = entry.file.parent / "submissions" / ticket.submission_id
    manifest = assemble(entry, ticket, folder)
    check_submission(folder, entry.competition, pool_uids=None)
    sets = predicted_sets(entry.competition.suite)
    notify(f"Checked: predictions for {len(sets)} test sets, {sum(shape.samples for shape in sets.values()):,} samples")
    notify("Not checked here: whether the columns are in order. Only the labels show it; the scorer looks.")
    return entering.deliver(manifest, folder, client, hub, notify)


def assemble(entry: PredictionsEntry, ticket: SubmissionTicket, folder: Path) -> SubmissionManifest:
    """Build the submission folder and its manifest; the same file yields the same bytes again."""
    make_folder(folder)
    entering.place(entry.file, folder / PREDICTIONS_NAME)
    text = card.render_predictions(entry.competition, entry.scale, entry.method_name, entry.description)
    write_bytes(folder / "README.md", text.encode())
    roles = {PREDICTIONS_NAME: FileRole.PREDICTIONS, "README.md": FileRole.CARD}
    return entering.write_manifest(entry, ticket, folder, roles)


def check_file(entry: PredictionsEntry) -> None:
    """Raise ``RejectionError``, as the scorer would, before anything is registered."""
    from competition.verification.predictions import read_sets

    size, limit = entry.file.stat().st_size, entry.competition.limits.file_bytes
    if size > limit:
        raise RejectionError(
            RejectionReason.FILE_TOO_LARGE, f"{entry.file} has {size} bytes; a file may have at most {limit}."
        )
    read_sets(entry.file, entry.competition.suite, str(entry.file))
