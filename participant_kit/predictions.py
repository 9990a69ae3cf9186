"""Predictions as a participant has them: scored on this machine, and entered.

A file of predictions needs no run: any model may have made it, here or elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from competition.client import LeaderboardClient
from competition.data.atomic import make_folder, write_bytes
from competition.data.digests import file_sha256
from competition.errors import UsageError
from competition.progress import Progress, ProgressHook
from competition.records.evaluation import EvaluationReport, TaskResult
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

    @property
    def workplace(self) -> Path:
        """The folder that the file lies in."""
        return self.file.parent

    def require(self) -> None:
        """Raise ``UsageError`` when there is no such file."""
        require_file(self.file)

    def content(self) -> dict[str, str]:
        """sha256 of the file."""
        return {"predictions": file_sha256(self.file)}

    def assemble(self, ticket: SubmissionTicket, folder: Path) -> SubmissionManifest:
        """See ``assemble``."""
        return assemble(self, ticket, folder)

    def known_uids(self, folder: Path) -> None:
        """Predictions have no subset, and need no pool."""


def submit(entry: PredictionsEntry, client: LeaderboardClient, hub: HubTarget, notify: Notify) -> SubmissionView:
    """Enter predictions; see ``entering.enter``."""
    return entering.enter(entry, client, hub, notify)


def assemble(entry: PredictionsEntry, ticket: SubmissionTicket, folder: Path) -> SubmissionManifest:
    """Build the submission folder and its manifest; the same file yields the same bytes again."""
    make_folder(folder)
    entering.place(entry.file, folder / PREDICTIONS_NAME)
    text = card.render_predictions(entry.competition, entry.scale, entry.method_name, entry.description)
    write_bytes(folder / "README.md", text.encode())
    roles = {PREDICTIONS_NAME: FileRole.PREDICTIONS, "README.md": FileRole.CARD}
    return entering.write_manifest(entry, ticket, folder, roles)
