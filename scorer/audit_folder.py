"""Where an audit keeps what it has done, so that a killed one goes on: ``<audits>/<submission>/<key>``.

The key names entry, recipe, suite and code, so that nothing is taken up that was made under other ones. Seeds are
drawn once and kept. What audits of other entries found there says how much seeds matter to the recipe.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from competition import __version__
from competition.audit_rule import score_of
from competition.canonical import digest
from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.data.lock import folder_lock
from competition.errors import DataFormatError
from competition.records.audit import Arm
from competition.records.base import Identifier, Line, Record, Sha256, Timestamp
from competition.records.evaluation import TaskResult
from competition.records.training import TrainingReport
from competition.rules import Suite
from competition.seed_noise import SeedSpread, pooled_spread
from scorer.messages import Materialised
from scorer.mirror import Mirror

R = TypeVar("R", bound=Record)

_PLAN = "plan.json"


class AuditPlan(Record):
    """What is audited, and with which seeds. ``random_seed`` is of the random subset of a smaller scale's audit."""

    schema_version: Literal[1] = 1
    submission_id: Identifier
    scale: Identifier
    recipe_digest: Sha256
    suite_digest: Sha256
    subset_sha256: Sha256
    model_sha256: Sha256
    code_version: Line = __version__
    random_seed: int = 0
    seeds: tuple[int, ...] = ()
    started_at: Timestamp = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def key(self) -> str:
        """Identity of what is done, whatever the seeds."""
        names = ("scale", "recipe_digest", "suite_digest", "subset_sha256", "model_sha256", "code_version")
        return digest([getattr(self, name) for name in names])[:16]


class FinishedRun(Record):
    """A training with the results of its model."""

    training: TrainingReport
    results: tuple[TaskResult, ...]


class EntryResults(Record):
    """The results of the entry's own model, here."""

    results: tuple[TaskResult, ...]


class AuditFolder:
    """One audit's folder. ``draw`` yields a fresh whole number for a seed."""

    def __init__(self, root: Path, plan: AuditPlan, draw: Callable[[], int]) -> None:
        self.path = root / plan.submission_id / plan.key
        self._draw = draw
        self._fresh = plan

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder, which is made."""
        make_folder(self.path)
        with folder_lock(self.path, "is auditing this entry", "DATACUP_CACHE"):
            yield

    def plan(self, seeds: int, avoid: int | None) -> AuditPlan:
        """The plan with so many seeds or more: those that were drawn stay, none is ``avoid``."""
        kept = _read(AuditPlan, self.path / _PLAN)
        plan = kept or self._fresh.model_copy(update={"random_seed": self._draw()})
        chosen = list(plan.seeds)
        while len(chosen) < seeds:
            drawn = self._draw()
            if drawn not in chosen and drawn != avoid:
                chosen.append(drawn)
        plan = plan.model_copy(update={"seeds": tuple(chosen)})
        if plan != kept:
            write(self.path / _PLAN, plan)
        return plan

    def shards(self, arm: Arm) -> Path:
        """Where the shards of an arm lie: in a folder of its own, for whoever fills it may write nothing else here."""
        return self.path / f"data-{arm.value}" / "shards"

    @property
    def runs(self) -> Path:
        """Where trainings are kept."""
        return self.path / "runs"

    @property
    def models(self) -> Path:
        """Root of a mirror for trained models alone: the evaluating process finds models by digest."""
        return self.path / "models"

    def materialised(self, arm: Arm) -> Materialised | None:
        """What was copied for an arm, once all of it was."""
        return _read(Materialised, self._facts(arm))

    def keep_materialised(self, arm: Arm, facts: Materialised) -> None:
        """Note that an arm's shards are whole."""
        write(self._facts(arm), facts)

    def has_shards(self, arm: Arm) -> bool:
        """Whether an arm's shards are whole and still there: an operator may need their room."""
        return (self.shards(arm) / "meta.json").exists()

    def finished(self, arm: Arm, seed: int) -> FinishedRun | None:
        """A run that is trained and evaluated."""
        return _read(FinishedRun, self._result(arm, seed))

    def keep_finished(self, arm: Arm, seed: int, run: FinishedRun) -> None:
        """Note a run's results."""
        write(self._result(arm, seed), run)

    def entry_results(self) -> EntryResults | None:
        """Those of the entry's own model, if it was evaluated here."""
        return _read(EntryResults, self.path / "entry.json")

    def keep_entry_results(self, results: EntryResults) -> None:
        """Note them."""
        write(self.path / "entry.json", results)

    def adopt_model(self, model: Path, sha256: str) -> None:
        """Make a trained model known by its digest; the run keeps its file."""
        store = Mirror(self.models)
        if store.holds(sha256, model.stat().st_size):
            return
        with store.scratch() as folder:
            link = folder / "model"
            with storage_errors("linking", link):
                os.link(model, link)
            store.adopt(link, sha256)

    def _facts(self, arm: Arm) -> Path:
        return self.path / f"data-{arm.value}.json"

    def _result(self, arm: Arm, seed: int) -> Path:
        return self.path / "results" / f"{arm.value}-{seed}.json"


def known_spread(root: Path, plan: AuditPlan, suite: Suite) -> SeedSpread:
    """The spread of scores among seeds in the audits of other entries by the same recipe, suite and code."""
    groups = []
    for path in sorted(root.glob(f"*/*/{_PLAN}")):
        other = _read(AuditPlan, path)
        same = ("scale", "recipe_digest", "suite_digest", "code_version")
        if other is None or other.submission_id == plan.submission_id:
            continue
        if any(getattr(other, name) != getattr(plan, name) for name in same):
            continue
        for arm in Arm:
            runs = [
                _read(FinishedRun, found) for found in sorted((path.parent / "results").glob(f"{arm.value}-*.json"))
            ]
            groups.append([score_of(suite, values_of(run.results)) for run in runs if run is not None])
    return pooled_spread(groups)


def values_of(results: tuple[TaskResult, ...]) -> dict[str, float]:
    """The values by task."""
    return {result.task: result.value for result in results}


def write(path: Path, record: Record) -> None:
    """Write a record into a file, whole."""
    make_folder(path.parent)
    write_bytes(path, record.model_dump_json(indent=1).encode())


def _read(kind: type[R], path: Path) -> R | None:
    """The record in a file of this folder; None where it is absent."""
    try:
        with storage_errors("reading", path):
            raw = path.read_bytes() if path.exists() else None
        return None if raw is None else kind.model_validate_json(raw)
    except ValidationError as error:
        raise DataFormatError(f"{path} is not what an audit writes.", hint="Delete it and run again.") from error
