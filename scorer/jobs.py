"""The two jobs of a submission: intake (fetch, mirror, verify) and scoring (evaluate, task by task)."""

from __future__ import annotations

from collections.abc import Callable

from competition.client import LeaderboardClient
from competition.errors import EngineError, RejectionError, RejectionReason, StorageError
from competition.records.lifecycle import JobKind
from competition.records.manifest import FileRole, SubmissionManifest
from competition.records.overlap import TaskOverlap
from competition.records.scoring import (
    IntakeVerified,
    JobGrant,
    JobOutcome,
    ResultReport,
    ScoringComplete,
    StageReport,
)
from competition.rules import Competition, EntryKind, find_track
from scorer import messages
from scorer.children import Bounds, Children, Chore
from scorer.evaluation import EvaluateRequest, SetsRequest, evaluate_entry, prepare_sets
from scorer.guard import Guard
from scorer.likenesses import LIKENESSES
from scorer.mirror import Mirror, Source
from scorer.namespaces import Access
from scorer.overlaps import OVERLAPS, OverlapRequest, index_overlaps
from scorer.rulebook import competition_of
from scorer.settings import ScorerSettings
from scorer.verify import FetchRequest, Registration, VerifyRequest, fetch_entry, verify_entry

Notify = Callable[..., None]
"""``notify(event, **detail)``: something worth a line happened."""

_MARGIN_BYTES = 16 * 2**20
# Indexes of pools and decoded evaluation sets are written too, and may be far larger than any file of an entry.
_CACHE_FILE_BYTES = 2**40


class Job:
    """One leased job. ``guard`` is asked often whether the work may go on."""

    def __init__(
        self,
        grant: JobGrant,
        client: LeaderboardClient,
        children: Children,
        settings: ScorerSettings,
        guard: Guard,
        notify: Notify,
    ) -> None:
        self.grant = grant
        self._client = client
        self._children = children
        self._settings = settings
        self._guard = guard
        self._notify = notify

    def run(self) -> JobOutcome:
        """Do the work and say how it ended.

        Raises ``RejectionError`` (the entry is at fault), ``ConflictError`` (the attempt is over), any other
        ``DataCupError`` (the platform is at fault).
        """
        competition = competition_of(self.grant, self._settings.competitions)
        if self.grant.kind is JobKind.INTAKE:
            return self._intake(competition)
        return self._score(competition)

    def _intake(self, competition: Competition) -> IntakeVerified:
        manifest = self._fetch(competition)
        self._stage("mirrored")
        self._stage("validating")
        request = VerifyRequest(
            manifest=manifest,
            registration=Registration.of(self.grant),
            competition=competition,
            mirror=self._settings.mirror_root,
            pools=self._settings.pools_root,
            overlaps=self._test_images(competition),
        )
        overlaps: list[TaskOverlap] = []

        def listen(message: messages.Message) -> None:
            if isinstance(message, messages.Checking):
                self._notify("checking", check=message.check)
            elif isinstance(message, messages.Overlap):
                overlaps.append(message.overlap)
            elif isinstance(message, messages.NearCopy):
                self._notify("near_copy", other=message.submission, distance=message.distance)

        access = Access(
            readable=(request.mirror, request.pools),
            writable=(request.mirror / "pool-index", request.mirror / LIKENESSES),
        )
        self._child(verify_entry, request.model_dump_json(), access, listen, self._settings.intake_seconds)
        for overlap in overlaps:
            if overlap.copied:
                self._notify("contamination", task=overlap.task, copied=overlap.copied, images=overlap.images)
        return IntakeVerified(attempt=self.grant.attempt, manifest=manifest, overlaps=tuple(overlaps))

    def _test_images(self, competition: Competition) -> str | None:
        """Have the test images described that the entry's data are compared with; the name of their index.

        None for entries that hold no data.
        """
        if find_track(competition, self.grant.track).entry is EntryKind.PREDICTIONS:
            return None
        settings = self._settings
        request = OverlapRequest(
            competition=competition,
            track=self.grant.track,
            scale=self.grant.scale,
            pools=settings.pools_root,
            evaluation=settings.evaluation_root,
            overlaps=settings.mirror_root / OVERLAPS,
        )
        found: list[str] = []

        def listen(message: messages.Message) -> None:
            if isinstance(message, messages.Compared):
                found.append(message.index)

        access = Access(
            readable=(request.pools, *settings.further_folders), writable=(request.evaluation, request.overlaps)
        )
        self._child(index_overlaps, request.model_dump_json(), access, listen, settings.intake_seconds)
        return found[0] if found else None

    def _fetch(self, competition: Competition) -> SubmissionManifest:
        grant, settings = self.grant, self._settings
        if not settings.fetches_from(grant.hub_endpoint):
            raise RejectionError(
                RejectionReason.REPOSITORY_NOT_FOUND,
                f"Entries are not fetched from {grant.hub_endpoint}, only from {', '.join(settings.hubs)}.",
            )
        request = FetchRequest(
            source=Source(endpoint=grant.hub_endpoint, repo=grant.repo, revision=grant.revision, path=grant.path),
            registration=Registration.of(grant),
            competition=competition,
            mirror=settings.mirror_root,
            hub_token=settings.hub_token_for(grant.hub_endpoint),
        )
        found: list[SubmissionManifest] = []

        def listen(message: messages.Message) -> None:
            if isinstance(message, messages.Mirrored):
                found.append(message.manifest)

        limit = competition.limits.file_bytes + _MARGIN_BYTES
        access = Access(network=True, writable=(settings.mirror_root,))
        self._child(fetch_entry, request.model_dump_json(), access, listen, settings.intake_seconds, limit)
        if len(found) != 1:
            raise EngineError("The fetching process ended without saying what it had fetched.")
        size = sum(file.size for file in found[0].files)
        self._notify("mirrored", files=len(found[0].files), bytes=size)
        return found[0]

    def _score(self, competition: Competition) -> ScoringComplete:
        manifest = self.grant.manifest
        if manifest is None:
            raise EngineError(f"Scoring job {self.grant.job_id} came without a manifest.")
        predicted = find_track(competition, self.grant.track).entry is EntryKind.PREDICTIONS
        judged = manifest.only(FileRole.PREDICTIONS if predicted else FileRole.MODEL)
        mirror = Mirror(self._settings.mirror_root)
        if not mirror.holds(judged.sha256, judged.size):
            self._fetch_again(competition)
        pending = [task.id for task in competition.suite.tasks if task.id not in self.grant.finished_tasks]
        if pending:
            self._evaluate(competition, judged.sha256, pending)
        return ScoringComplete(attempt=self.grant.attempt)

    def _fetch_again(self, competition: Competition) -> None:
        """Intake ran where the mirror is another one. The entry was verified: if it is gone by now, that is no fault of
        its own, and whoever has the mirror must see to it."""
        try:
            self._fetch(competition)
        except RejectionError as error:
            raise StorageError(
                f"The verified entry is not in this scorer's mirror, and cannot be fetched again: {error.message}",
                hint="Point DATACUP_MIRROR of all scorers to one place, then `datacup-leaderboard submission requeue`.",
            ) from error

    def _evaluate(self, competition: Competition, judged_sha256: str, pending: list[str]) -> None:
        """Have the tasks evaluated; every result is handed in before the next one is waited for."""
        settings = self._settings
        left = list(pending)
        request = EvaluateRequest(
            competition=competition,
            track=self.grant.track,
            scale=self.grant.scale,
            tasks=tuple(pending),
            judged_sha256=judged_sha256,
            reported_sha256=self._reported_sha256(),
            mirror=settings.mirror_root,
            evaluation=settings.evaluation_root,
            threads=settings.threads,
        )

        def listen(message: messages.Message) -> None:
            if isinstance(message, messages.TaskStarted) and left:
                self._stage(left[0])
            elif isinstance(message, messages.TaskFinished):
                result = message.result
                if not left or result.task != left[0]:
                    raise EngineError(f"The evaluating process sent a result of {result.task!r} out of turn.")
                self._client.report_result(self.grant.job_id, ResultReport(attempt=self.grant.attempt, result=result))
                left.pop(0)
                self._notify("task", task=result.task, metric=result.metric, value=result.value, seconds=result.seconds)
                if left:
                    self._guard.check_between_tasks()
            elif isinstance(message, messages.ReportedGap):
                self._notify("reported_gap", task=message.task, gap=message.gap)

        # Sets that are made from code are made without the entry, because with it they cannot be written.
        sets = SetsRequest(suite=competition.suite.id, evaluation=settings.evaluation_root).model_dump_json()
        writing = Access(readable=settings.further_folders, writable=(settings.evaluation_root,))
        self._child(prepare_sets, sets, writing, lambda _message: None, settings.task_seconds)
        inputs = (settings.mirror_root, settings.evaluation_root, *settings.further_folders)
        access = Access(readable=inputs, writable=(settings.decoded_root,))
        self._child(evaluate_entry, request.model_dump_json(), access, listen, settings.task_seconds)
        if left:
            raise EngineError(f"The evaluating process ended without a result of {left[0]!r}.")

    def _reported_sha256(self) -> str | None:
        """Of the entry's own evaluation report, where it has one."""
        files = self.grant.manifest.files if self.grant.manifest else ()
        return next((file.sha256 for file in files if file.role is FileRole.EVALUATION_REPORT), None)

    def _child(
        self,
        chore: Chore,
        request: str,
        access: Access,
        listen: Callable[[messages.Message], None],
        seconds: float,
        file_bytes: int = _CACHE_FILE_BYTES,
    ) -> None:
        settings = self._settings
        bounds = Bounds(
            start=settings.start_seconds,
            step=seconds,
            memory_bytes=settings.memory_bytes,
            file_bytes=file_bytes,
            scratch_bytes=settings.scratch_bytes,
            tasks=settings.max_tasks,
            free_bytes=settings.free_bytes,
        )

        def on_message(message: messages.Message) -> None:
            if isinstance(message, messages.Damaged):
                # Only here may the mirror be written; the word of a process that has read an entry is not enough.
                Mirror(settings.mirror_root).verified(message.sha256)
            listen(message)

        self._children.run(chore, request, bounds, access=access, on_message=on_message, guard=self._guard.check)

    def _stage(self, stage: str) -> None:
        self._client.report_stage(self.grant.job_id, StageReport(attempt=self.grant.attempt, stage=stage))
        self._notify("stage", stage=stage)
