"""A submission of a model: the folder that is uploaded, its manifest and card, and the way to the leaderboard.

Entering is register -> assemble -> check -> upload -> announce the revision. Every step can be repeated: a
registration is idempotent, the folder is rebuilt from the run, the Hub takes only files that it lacks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from competition.client import LeaderboardClient
from competition.data.atomic import make_folder, write_bytes
from competition.data.digests import file_sha256
from competition.data.metadata import list_metadata, read_uids
from competition.data.uids import UidArray, count_in, load_subset, multiplicities, save_subset, sort_uids
from competition.errors import DataFormatError, UsageError
from competition.records.evaluation import EvaluationReport
from competition.records.lifecycle import Processing
from competition.records.lineage import LINEAGE_NAME, MAX_LINEAGE_BYTES, DatasetLineage
from competition.records.manifest import FileRole, SubmissionManifest
from competition.records.submission import SubmissionRegistration, SubmissionTicket, SubmissionView
from competition.records.training import TrainingReport
from competition.rules import Competition, Scale, Track
from competition.verification import check_members, check_submission
from competition.verification.lineage import check_result, parse_lineage
from participant_kit import card, entering
from participant_kit.entering import DataCounts, Notify, path_in_repo, place
from participant_kit.evaluation import REPORT_FILE, read_training_report
from participant_kit.hub import HubTarget
from participant_kit.own_data import OwnData

__all__ = ["Entry", "assemble", "merge_subsets", "path_in_repo", "registration", "submit"]

_FILES: tuple[tuple[str, FileRole], ...] = (
    ("model.safetensors", FileRole.MODEL),
    ("training_report.json", FileRole.TRAINING_REPORT),
    ("train_log.jsonl", FileRole.TRAINING_LOG),
    (REPORT_FILE, FileRole.EVALUATION_REPORT),
)


@dataclass(frozen=True)
class Entry:
    """What a participant enters: a finished run, the subset and data of its own that it was trained on, and how it is
    called. There is no subset where there are such data instead.

    ``metadata_dir`` is the pool's metadata folder, against which the subset is checked; None where it is not at hand.
    ``lineage`` is the ``dataset.json`` that says how the subset was made, if there is one.
    """

    competition: Competition
    track: Track
    scale: Scale
    run_dir: Path
    subset: Path | None
    method_name: str
    author: str
    description: str
    metadata_dir: Path | None = None
    lineage: Path | None = None
    own_data: OwnData | None = None

    def training_report(self) -> TrainingReport:
        """The run's training report (raises ``UsageError`` when the run is not finished or of another recipe)."""
        report = read_training_report(self.run_dir)
        recipe = self.competition.clip_recipe_of(self.scale)
        if report.recipe_digest != recipe.digest:
            raise UsageError(
                f"{self.run_dir} was trained with recipe {report.recipe!r}, not with that of scale {self.scale.id!r}.",
                hint=f"Enter the scale that was trained, or train with `datacup train --scale {self.scale.id}`.",
            )
        return report

    def evaluation_report(self) -> EvaluationReport:
        """The run's evaluation report (raises ``UsageError`` when it or another file of the run is missing, or when it
        is of other weights or rules)."""
        report = _evaluation_report(self.run_dir)
        for name, _ in _FILES:
            if not (self.run_dir / name).is_file():
                raise UsageError(
                    f"{self.run_dir} has no {name}, which is part of an entry.",
                    hint="Put the file back, or train the run again under another --exp-name.",
                )
        model = file_sha256(self.run_dir / "model.safetensors")
        if report.model_sha256 != model or report.suite_digest != self.competition.suite.digest:
            raise UsageError(
                f"The evaluation report in {self.run_dir} is of other weights or another suite.",
                hint=f"Run `datacup evaluate --train-output-dir {self.run_dir}` again.",
            )
        return report

    def samples(self) -> UidArray | None:
        """The subset, if there is one.

        Raises:
            UsageError: it is empty, or there are no data at all.
            DataFormatError: it is no sorted uid array.
        """
        if self.subset is None:
            if self.own_data is None:
                raise UsageError("The entry has neither a subset nor data of its own.")
            return None
        uids = load_subset(self.subset)
        if not len(uids):
            raise UsageError(f"{self.subset} is empty.", hint="A subset needs at least one uid.")
        return uids

    def check_membership(self) -> None:
        """Raise ``RejectionError``, as the scorer would, when a uid of the subset is not in the pool's metadata."""
        subset = self.samples()
        if self.metadata_dir is None or subset is None:
            return
        distinct, _ = multiplicities(subset)
        found = [distinct[:0]]
        for path in list_metadata(self.metadata_dir):
            part = read_uids(path)
            found.append(part[count_in(part, distinct) > 0])
        check_members(str(self.subset), subset, sort_uids(np.concatenate(found)), self.scale.given_pool.id)

    def read_lineage(self) -> tuple[bytes, DatasetLineage] | None:
        """The lineage and its file's bytes, if the entry has one.

        Raises:
            UsageError: the file is absent or too large.
            RejectionError: it is no lineage, or that of another subset, as the scorer would say.
        """
        if self.lineage is None:
            return None
        if self.subset is None:
            raise UsageError("A lineage tells how a subset was made.", hint="Give --samples, or leave --lineage out.")
        if not self.lineage.is_file() or self.lineage.stat().st_size > MAX_LINEAGE_BYTES:
            raise UsageError(
                f"There is no lineage {self.lineage} of at most {MAX_LINEAGE_BYTES} bytes.",
                hint="Name the dataset.json that `datacup build` wrote beside the subset.",
            )
        content = self.lineage.read_bytes()
        found = parse_lineage(content, str(self.lineage))
        check_result(found, str(self.lineage), str(self.subset), file_sha256(self.subset))
        return content, found


def submit(entry: Entry, client: LeaderboardClient, hub: HubTarget, notify: Notify) -> SubmissionView:
    """Enter: register, assemble, check, upload, announce. Repeating an interrupted call goes on where it stopped; what
    was entered is not entered again."""
    training, evaluation = entry.training_report(), entry.evaluation_report()
    entry.samples()
    entry.check_membership()
    entry.read_lineage()
    ticket = entering.register(entry, hub, _content(entry, training), client)
    if ticket.processing is not Processing.DRAFT:
        # Its revision stands, and is no longer the repository's newest where another entry followed.
        notify(f"Already entered as {ticket.submission_id}")
        return client.submission(ticket.submission_id)
    notify(f"Registered as {ticket.submission_id}")
    folder = entry.run_dir / "submissions" / ticket.submission_id
    manifest = assemble(entry, ticket, evaluation, folder)
    check_submission(folder, entry.competition, pool_uids=None)  # membership was checked before registering
    notify(f"Checked: {len(manifest.files)} files, {_counted(manifest)}")
    if entry.metadata_dir is None and entry.subset is not None:
        notify("Not checked here: whether every uid is of the pool. The scorer does; so does --metadata-dir.")
    return entering.deliver(manifest, folder, client, hub, notify)


def assemble(entry: Entry, ticket: SubmissionTicket, evaluation: EvaluationReport, folder: Path) -> SubmissionManifest:
    """Build the submission folder and its manifest from the run; the same files yield the same bytes again."""
    make_folder(folder)
    subset = entry.samples()
    made = {"results.jsonl": FileRole.RESULTS, "README.md": FileRole.CARD}
    if subset is not None:
        save_subset(folder / "subset.npy", subset)
        made["subset.npy"] = FileRole.SUBSET
    if entry.own_data is not None:
        for source, name, role in entry.own_data.files():
            make_folder((folder / name).parent)
            place(source, folder / name)
            made[name] = role
    for name, _ in _FILES:
        place(entry.run_dir / name, folder / name)
    write_bytes(folder / "results.jsonl", _results_lines(entry, evaluation).encode())
    told = entry.read_lineage()
    if told is not None:
        write_bytes(folder / LINEAGE_NAME, told[0])
        made[LINEAGE_NAME] = FileRole.LINEAGE
    text = card.render(entry.competition, entry.scale, entry.method_name, entry.description, evaluation)
    write_bytes(folder / "README.md", (text + (card.render_lineage(told[1]) if told else "")).encode())
    return entering.write_manifest(entry, ticket, folder, {**made, **dict(_FILES)}, _counts(entry, subset))


def _counts(entry: Entry, subset: UidArray | None) -> DataCounts:
    own = entry.own_data
    return DataCounts(
        subset_samples=None if subset is None else len(subset),
        subset_unique=None if subset is None else len(multiplicities(subset)[0]),
        external_rows=(own.rows if own is not None else 0) or None,
        external_samples=(own.samples if own is not None else 0) or None,
    )


def _counted(manifest: SubmissionManifest) -> str:
    """In words, how much data an entry has."""
    parts = (
        (manifest.subset_samples, "samples in the subset"),
        (manifest.external_samples, "samples in external shards"),
        (manifest.external_rows, "rows in external tables"),
    )
    return ", ".join(f"{count} {what}" for count, what in parts if count is not None)


def merge_subsets(files: str, target: Path) -> Path:
    """The subset of ``A.npy::B.npy``: one file is taken as it is, several are merged (sorted, repeats kept)."""
    paths = [Path(part) for part in files.split("::")]
    for path in paths:
        if not path.is_file():
            raise UsageError(f"There is no subset file {path}.", hint="Make one with `datacup subset`.")
    if len(paths) == 1:
        return paths[0]
    save_subset(target, sort_uids(np.concatenate([load_subset(path) for path in paths])))
    return target


def registration(entry: Entry, hub: HubTarget, training: TrainingReport, attempt: int = 0) -> SubmissionRegistration:
    """The announcement of an entry; its key is made from the content, so that repeating it yields the same ticket."""
    return entering.registration(entry, hub, _content(entry, training), attempt)


def _content(entry: Entry, training: TrainingReport) -> dict[str, str]:
    subset = {} if entry.subset is None else {"subset": file_sha256(entry.subset)}
    own = {} if entry.own_data is None else entry.own_data.content()
    return {"model": training.model_sha256, **subset, **own}


def _evaluation_report(run_dir: Path) -> EvaluationReport:
    path = run_dir / REPORT_FILE
    again = f"Run `datacup evaluate --train-output-dir {run_dir}`."
    try:
        return EvaluationReport.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"{run_dir} was not evaluated yet.", hint=again) from error
    except ValidationError as error:
        raise DataFormatError(f"{path} is not an evaluation report.", hint=again) from error


def _results_lines(entry: Entry, evaluation: EvaluationReport) -> str:
    """DataComp's results.jsonl: one row a task, with its main metric."""
    suite = entry.competition.suite
    rows = (
        {
            "key": result.task,
            "dataset": suite.task(result.task).title,
            "metrics": {**result.metrics, "main_metric": result.value},
        }
        for result in evaluation.results
    )
    return "".join(json.dumps(row) + "\n" for row in rows)
