"""A submission of a model: the run and its subset, and the folder that is made of them; ``entering`` enters it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from competition.client import LeaderboardClient
from competition.data.atomic import make_folder, write_bytes
from competition.data.digests import file_sha256
from competition.data.uids import UidArray, load_subset, save_blocks, save_subset, sort_uids
from competition.errors import DataFormatError, RejectionError, UsageError
from competition.records.evaluation import EvaluationReport
from competition.records.lineage import LINEAGE_NAME, MAX_LINEAGE_BYTES
from competition.records.manifest import FileRole, SubmissionManifest
from competition.records.submission import SubmissionRegistration, SubmissionTicket, SubmissionView
from competition.records.training import TrainingReport
from competition.rules import Competition, Scale, Track
from competition.verification.lineage import parse_lineage
from competition.verification.subset import check_uids
from participant_kit import card, entering
from participant_kit.entering import DataCounts, Notify, path_in_repo, place
from participant_kit.evaluation import REPORT_FILE, read_training_report
from participant_kit.hub import HubTarget
from participant_kit.membership import known_uids
from participant_kit.own_data import OwnData

__all__ = ["Entry", "assemble", "merge_subsets", "path_in_repo", "registration", "submit"]

_SUBSET = "subset.npy"
_NPY_MAGIC = b"\x93NUMPY"
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

    @property
    def workplace(self) -> Path:
        """The run's folder."""
        return self.run_dir

    def require(self) -> None:
        """Raise ``UsageError``: the run is not finished or of another recipe, there are no data, or the lineage is
        absent, too large or of no subset."""
        self.training_report()
        if self.subset is None and self.own_data is None:
            raise UsageError("The entry has neither a subset nor data of its own.")
        told = self.lineage
        if told is not None and self.subset is None:
            raise UsageError("A lineage tells how a subset was made.", hint="Give --samples, or leave --lineage out.")
        if told is not None and (not told.is_file() or told.stat().st_size > MAX_LINEAGE_BYTES):
            raise UsageError(
                f"There is no lineage {told} of at most {MAX_LINEAGE_BYTES} bytes.",
                hint="Name the dataset.json that `datacup build` wrote beside the subset.",
            )

    def content(self) -> dict[str, str]:
        """sha256 of the model, the subset, and the files of its own data."""
        subset = {} if self.subset is None else {"subset": file_sha256(self.subset)}
        own = {} if self.own_data is None else self.own_data.content()
        return {"model": self.training_report().model_sha256, **subset, **own}

    def assemble(self, ticket: SubmissionTicket, folder: Path) -> SubmissionManifest:
        """See ``assemble``."""
        return assemble(self, ticket, folder)

    def known_uids(self, folder: Path) -> UidArray | None:
        """Those of the pool's uids that the assembled subset has; None without a metadata folder."""
        if self.metadata_dir is None or self.subset is None:
            return None
        return known_uids(self.metadata_dir, self.scale.given_pool, folder / _SUBSET)


def submit(entry: Entry, client: LeaderboardClient, hub: HubTarget, notify: Notify) -> SubmissionView:
    """Enter a finished run; see ``entering.enter``."""
    return entering.enter(entry, client, hub, notify)


def assemble(entry: Entry, ticket: SubmissionTicket, folder: Path) -> SubmissionManifest:
    """Build the submission folder and its manifest from the run; the same files yield the same bytes again.

    Raises:
        UsageError: the run lacks a file, or its evaluation is of other weights or rules.
        StorageError: a file cannot be read or written.
    """
    evaluation = entry.evaluation_report()
    make_folder(folder)
    made = {"results.jsonl": FileRole.RESULTS, "README.md": FileRole.CARD}
    counts = DataCounts()
    if entry.subset is not None:
        counts = _place_subset(entry, entry.subset, folder / _SUBSET)
        made[_SUBSET] = FileRole.SUBSET
    if entry.own_data is not None:
        for source, name, role in entry.own_data.files():
            make_folder((folder / name).parent)
            place(source, folder / name)
            made[name] = role
        external = {"external_rows": entry.own_data.rows or None, "external_samples": entry.own_data.samples or None}
        counts = replace(counts, **external)
    for name, _ in _FILES:
        place(entry.run_dir / name, folder / name)
    write_bytes(folder / "results.jsonl", _results_lines(entry, evaluation).encode())
    text = card.render(entry.competition, entry.scale, entry.method_name, entry.description, evaluation)
    if entry.lineage is not None:
        text += _place_lineage(entry.lineage, folder / LINEAGE_NAME)
        made[LINEAGE_NAME] = FileRole.LINEAGE
    write_bytes(folder / "README.md", text.encode())
    return entering.write_manifest(entry, ticket, folder, {**made, **dict(_FILES)}, counts)


def _place_subset(entry: Entry, subset: Path, target: Path) -> DataCounts:
    """Put the subset into the folder, unchanged unless it is a raw array of pairs, which becomes an npy file."""
    with subset.open("rb") as stream:
        plain = stream.read(len(_NPY_MAGIC)) == _NPY_MAGIC
    if plain:
        place(subset, target)
    else:
        uids = load_subset(subset, require_sorted=False)
        save_blocks(target, len(uids), [uids])
    limit = entry.competition.limits.subset_uids
    try:
        return DataCounts(*check_uids(target.name, target, limit=limit, pool=None, pool_id=""))
    except RejectionError:
        return DataCounts(1, 1)  # it has no counts, and the check of the finished folder says why


def _place_lineage(source: Path, target: Path) -> str:
    """Put the lineage into the folder; its section of the card."""
    content = source.read_bytes()
    write_bytes(target, content)
    try:
        return card.render_lineage(parse_lineage(content, target.name))
    except RejectionError:
        return ""  # it is none, and the check of the finished folder says why


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


def registration(entry: Entry, hub: HubTarget, attempt: int = 0) -> SubmissionRegistration:
    """The announcement of an entry; its key is made from the content, so that repeating it yields the same ticket."""
    return entering.registration(entry, hub, entry.content(), attempt)


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
