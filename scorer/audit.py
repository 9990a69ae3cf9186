"""Auditing an entry: train its scale's recipe again on its mirrored subset, evaluate, compare, and report.

Everything that reads an entry or trains runs in a process of its own, isolated and without credentials. What is done
is kept in a folder (``scorer.audit_folder``), so that a killed audit goes on from its finished seeds, and from the
newest checkpoint of the one that it was at.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from competition.errors import DataFormatError, EngineError, RejectionError, StorageError, UsageError
from competition.records.audit import Arm, AuditBar, AuditReport, AuditTarget
from competition.records.evaluation import TaskResult
from competition.records.manifest import FileRole, ManifestFile
from competition.records.training import TrainingReport
from competition.rules import ClipRecipe, Competition, Scale, find_scale
from competition.verification.self_report import value_gap
from scorer import messages
from scorer.audit_chores import SHARDS, MaterialiseRequest, RetrainRequest, materialise, retrain
from scorer.audit_folder import AuditFolder, AuditPlan, EntryResults, FinishedRun, known_spread, values_of
from scorer.audit_verdict import Evidence, conclude
from scorer.children import Bounds, Children, Chore
from scorer.evaluation import EvaluateRequest, SetsRequest, evaluate_entry, prepare_sets
from scorer.mirror import Mirror
from scorer.namespaces import Access
from scorer.rulebook import competition_of
from scorer.settings import ScorerSettings

Notify = Callable[..., None]
"""``notify(event, **detail)``: something worth a line happened."""

_SEEDS = 2**31
_FILE_BYTES = 2**40
_MISSING_SHARE = 0.01
"""Of a subset's samples: with more of them gone, the trainings are on other data than the entry's."""


@dataclass(frozen=True)
class Choices:
    """What an organiser chooses: ``scale`` is None for the entry's own, ``seeds`` the number of runs of each arm."""

    scale: str | None
    seeds: int
    bar: AuditBar


class Audit:
    """One audit. ``draw`` yields numbers for seeds, that nobody can know before."""

    def __init__(
        self,
        target: AuditTarget,
        choices: Choices,
        children: Children,
        settings: ScorerSettings,
        notify: Notify,
        draw: Callable[[], int] = lambda: secrets.randbelow(_SEEDS),
    ) -> None:
        self._target, self._choices = target, choices
        self._children, self._settings, self._notify = children, settings, notify
        self._rules = competition_of(target, settings.competitions)
        self._scale = _chosen_scale(self._rules, target, choices.scale)
        self._plan = AuditPlan(
            submission_id=target.submission_id,
            scale=self._scale.id,
            recipe_digest=self._rules.training_digest(self._scale),
            suite_digest=self._rules.suite.digest,
            subset_sha256=target.manifest.only(FileRole.SUBSET).sha256,
            model_sha256=target.manifest.only(FileRole.MODEL).sha256,
        )
        self._folder = AuditFolder(settings.audits_root, self._plan, draw)

    @property
    def own_scale(self) -> bool:
        """Whether the entry's own recipe is trained."""
        return self._scale.id == self._target.scale

    def run(self) -> AuditReport:
        """Do what is not done yet, and judge.

        Raises:
            StorageError: a file of the entry is not in the mirror, or a disk is full.
            DataFormatError: the pool here lacks samples of the subset.
            EngineError: a process failed or ran over a limit, or the published values are not obtained here.
            ValidationFailedError: too few seeds for a comparison.
            UsageError: another process is at it.
        """
        with self._folder.locked():
            self._make_sure_of_mirror()
            facts = self._materialised(Arm.SUBSET, None)
            plan = self._folder.plan(self._choices.seeds, facts.entry_seed)
            arms = [Arm.SUBSET] if self.own_scale else [Arm.SUBSET, Arm.RANDOM]
            if not self.own_scale:
                self._materialised(Arm.RANDOM, plan.random_seed)
            self._notify("planned", seeds=list(plan.seeds), samples=facts.samples, missing=facts.missing)
            entry = self._entry_results() if self.own_scale else None
            runs = {(arm, seed): self._finished(arm, seed, plan) for seed in plan.seeds for arm in arms}
            known = known_spread(self._settings.audits_root, plan, self._rules.suite)
            evidence = Evidence(entry, runs, facts, known)
            return conclude(self._target, plan, self._rules.suite, evidence, self._choices.bar)

    def _make_sure_of_mirror(self) -> None:
        mirror = Mirror(self._settings.mirror_root)
        for role in (FileRole.SUBSET, FileRole.TRAINING_REPORT, FileRole.MODEL):
            file = self._file(role)
            if not mirror.holds(file.sha256, file.size):
                raise StorageError(
                    f"The mirror in {self._settings.mirror_root} lacks {file.path} of submission "
                    f"{self._target.submission_id}.",
                    hint="Point DATACUP_MIRROR to the mirror that its intake filled.",
                )

    def _file(self, role: FileRole) -> ManifestFile:
        return self._target.manifest.only(role)

    def _materialised(self, arm: Arm, random_seed: int | None) -> messages.Materialised:
        """The arm's shards, made unless they are there."""
        facts = self._folder.materialised(arm)
        if facts is None:
            facts = self._materialise(arm, random_seed)
            self._folder.keep_materialised(arm, facts)
        if facts.missing > _MISSING_SHARE * (facts.samples + facts.missing):
            raise DataFormatError(
                f"{facts.missing} of {facts.samples + facts.missing} samples of the subset are not among the shards of "
                f"the pool here: another model would come of it.",
                hint="Complete the pool, delete the audit's folder and run again.",
            )
        return facts

    def _materialise(self, arm: Arm, random_seed: int | None) -> messages.Materialised:
        settings, pool = self._settings, find_scale(self._rules, self._target.scale).given_pool
        request = MaterialiseRequest(
            subset_sha256=self._plan.subset_sha256,
            report_sha256=self._file(FileRole.TRAINING_REPORT).sha256,
            mirror=settings.mirror_root,
            pool=pool,
            pools=settings.pools_root,
            output=self._folder.shards(arm),
            random_seed=random_seed,
        )
        found: list[messages.Materialised] = []

        def listen(message: messages.Message) -> None:
            if isinstance(message, messages.Materialised):
                found.append(message)

        access = Access(
            readable=(settings.mirror_root, settings.pools_root),
            writable=(self._folder.shards(arm).parent, settings.mirror_root / "pool-index"),
        )
        self._child(materialise, request.model_dump_json(), access, listen, settings.intake_seconds)
        if len(found) != 1:
            raise EngineError(f"The process that copies {SHARDS} ended without saying what it had copied.")
        return found[0]

    def _entry_results(self) -> tuple[TaskResult, ...]:
        """The entry's own model under the suite, here; raises ``EngineError`` where that is not what was published."""
        kept = self._folder.entry_results()
        if kept is None:
            kept = EntryResults(results=self._evaluate(self._plan.model_sha256, self._settings.mirror_root))
            self._folder.keep_entry_results(kept)
        for result in kept.results:
            published = self._target.tasks[result.task]
            if value_gap(published, result) is not None:
                raise EngineError(
                    f"The entry's model scores {result.value:.4f} in {result.task!r} here, and {published:.4f} is "
                    f"published: what is trained here could not be compared with it.",
                    hint="Are the evaluation sets the same (`datacup-scorer doctor --digests`)?",
                )
        return kept.results

    def _finished(self, arm: Arm, seed: int, plan: AuditPlan) -> FinishedRun:
        """A run, trained and evaluated unless it is."""
        finished = self._folder.finished(arm, seed)
        if finished is None:
            if not self._folder.has_shards(arm):
                self._materialise(arm, plan.random_seed if arm is Arm.RANDOM else None)
            report = self._train(arm, seed)
            self._folder.adopt_model(self._folder.runs / _name(arm, seed) / "model.safetensors", report.model_sha256)
            finished = FinishedRun(training=report, results=self._evaluate(report.model_sha256, self._folder.models))
            self._folder.keep_finished(arm, seed, finished)
        self._notify("run", arm=arm.value, seed=seed, seconds=finished.training.seconds, **values_of(finished.results))
        return finished

    def _train(self, arm: Arm, seed: int) -> TrainingReport:
        settings, shards = self._settings, self._folder.shards(arm)
        request = RetrainRequest(
            competition=self._rules,
            scale=self._scale.id,
            shards=shards,
            output=self._folder.runs,
            name=_name(arm, seed),
            seed=seed,
            threads=settings.threads,
        )
        found: list[TrainingReport] = []

        def listen(message: messages.Message) -> None:
            if isinstance(message, messages.Trained):
                found.append(message.report)
            elif isinstance(message, messages.Progressed):
                told = {"stage": message.stage, "done": message.done, "total": message.total}
                self._notify("progress", arm=arm.value, seed=seed, **told)

        # The pool is not there: what is trained on can only be the copied shards.
        access = Access(readable=(shards,), writable=(self._folder.runs,))
        limit = settings.training_seconds
        self._child(retrain, request.model_dump_json(), access, listen, settings.task_seconds, limit)
        expected = (self._plan.recipe_digest, seed)
        if len(found) != 1 or (found[0].recipe_digest, found[0].seed) != expected:
            raise EngineError("The training process ended without the report that it was to make.")
        return found[0]

    def _evaluate(self, model_sha256: str, mirror: Path) -> tuple[TaskResult, ...]:
        """Every task of the suite, in order."""
        settings, suite = self._settings, self._rules.suite
        tasks = tuple(task.id for task in suite.tasks)
        request = EvaluateRequest(
            competition=self._rules,
            track=self._target.track,
            scale=self._target.scale if mirror == settings.mirror_root else self._scale.id,
            tasks=tasks,
            judged_sha256=model_sha256,
            mirror=mirror,
            evaluation=settings.evaluation_root,
            threads=settings.threads,
        )
        found: list[TaskResult] = []

        def listen(message: messages.Message) -> None:
            if isinstance(message, messages.TaskFinished):
                found.append(message.result)
                self._notify("task", task=message.result.task, value=message.result.value)

        sets = SetsRequest(suite=suite.id, evaluation=settings.evaluation_root).model_dump_json()
        writing = Access(readable=settings.further_folders, writable=(settings.evaluation_root,))
        self._child(prepare_sets, sets, writing, lambda _message: None, settings.task_seconds)
        inputs = (mirror, settings.evaluation_root, *settings.further_folders)
        access = Access(readable=inputs, writable=(settings.decoded_root,))
        self._child(evaluate_entry, request.model_dump_json(), access, listen, settings.task_seconds)
        if tuple(result.task for result in found) != tasks:
            raise EngineError("The evaluating process ended without a result of every task.")
        return tuple(found)

    def _child(
        self,
        chore: Chore,
        request: str,
        access: Access,
        listen: Callable[[messages.Message], None],
        silence: float,
        limit: float = float("inf"),
    ) -> None:
        settings = self._settings
        bounds = Bounds(
            start=settings.start_seconds,
            step=silence,
            memory_bytes=settings.memory_bytes,
            file_bytes=_FILE_BYTES,
            scratch_bytes=settings.scratch_bytes,
            tasks=settings.max_tasks,
            free_bytes=settings.free_bytes,
        )
        deadline = time.monotonic() + limit

        def guard() -> None:
            if time.monotonic() > deadline:
                raise EngineError(
                    f"A training was ended after {limit:.0f} s.", hint="Raise DATACUP_TRAINING_SECONDS and run again."
                )

        def on_message(message: messages.Message) -> None:
            if isinstance(message, messages.Damaged):
                # Only here may the mirror be written; the word of a process that has read an entry is not enough.
                Mirror(settings.mirror_root).verified(message.sha256)
            listen(message)

        try:
            self._children.run(chore, request, bounds, access=access, on_message=on_message, guard=guard)
        except RejectionError as error:
            # The entry was verified and scored before: what is wrong now is wrong with the audit.
            raise EngineError(f"The audit cannot go on: {error.message}") from error


def _name(arm: Arm, seed: int) -> str:
    return f"{arm.value}-{seed}"


def _chosen_scale(rules: Competition, target: AuditTarget, chosen: str | None) -> Scale:
    """The scale to train at (raises ``UsageError`` where it is not the entry's own nor a smaller one)."""
    own = find_scale(rules, target.scale)
    if chosen is None or chosen == own.id:
        return own
    scale = find_scale(rules, chosen)
    recipe, larger = rules.recipe_of(scale), rules.recipe_of(own)
    smaller = (
        isinstance(recipe, ClipRecipe) and isinstance(larger, ClipRecipe) and recipe.samples_seen < larger.samples_seen
    )
    if not smaller:
        raise UsageError(
            f"Scale {chosen!r} is no smaller than the entry's, {own.id!r}.",
            hint="Leave --scale out to train at the entry's own scale.",
        )
    return scale
