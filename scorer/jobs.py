"""The two jobs of a submission: intake (fetch, mirror, verify) and scoring (evaluate, task by task)."""

from __future__ import annotations

from collections.abc import Callable

from competition.errors import EngineError, RejectionError, RejectionReason, StorageError
from competition.evaluation.made_sets import must_be_made
from competition.records.lifecycle import JobKind
from competition.records.manifest import FileRole, ManifestFile, SubmissionManifest
from competition.records.overlap import TaskOverlap
from competition.records.scoring import (
    MAX_NEAR_COPIES,
    IntakeVerified,
    JobGrant,
    JobOutcome,
    NearCopy,
    ResultTakenOver,
    ScoringComplete,
    StageReport,
)
from competition.rules import Competition, EntryKind, find_track
from scorer import messages
from scorer.archive import Archive
from scorer.archiving import Archiving, Patience
from scorer.children import Children, Chore
from scorer.engine import CACHE_FILE_BYTES, EvaluationEngine, bounds_of, task_work
from scorer.evaluation import EvaluateRequest, SetsRequest, prepare_sets
from scorer.guard import Guard
from scorer.likenesses import LIKENESSES
from scorer.mirror import Mirror, MirroredEntry, Source
from scorer.namespaces import Access
from scorer.open_tasks import Desk, Notify, OpenTasks
from scorer.overlaps import OVERLAPS, OverlapRequest, index_overlaps
from scorer.rulebook import competition_of, evaluated_under
from scorer.settings import ScorerSettings
from scorer.verify import FetchRequest, Registration, VerifyRequest, fetch_entry, verify_entry

_MARGIN_BYTES = 16 * 2**20


class Job:
    """One leased job. ``guard`` is asked often whether the work may go on; ``engine`` evaluates."""

    def __init__(
        self,
        grant: JobGrant,
        client: Desk,
        children: Children,
        settings: ScorerSettings,
        guard: Guard,
        notify: Notify,
        engine: EvaluationEngine,
    ) -> None:
        self.grant = grant
        self._client = client
        self._children = children
        self._settings = settings
        self._guard = guard
        self._notify = notify
        self._engine = engine

    def run(self) -> JobOutcome:
        """Do the work and say how it ended.

        Raises ``RejectionError`` (the entry is at fault), ``ConflictError`` (the attempt is over), any other
        ``DataCupError`` (the platform is at fault).
        """
        files = self._settings.competitions
        if self.grant.kind is JobKind.INTAKE:
            return self._intake(competition_of(self.grant, files))
        return self._score(evaluated_under(self.grant, files))

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
        copies: dict[str, NearCopy] = {}

        def listen(message: messages.Message) -> None:
            if isinstance(message, messages.Checking):
                self._notify("checking", check=message.check)
            elif isinstance(message, messages.NearCopyFound):
                found = message.copy_of
                # The process that says so has read the entry: it is heard of as many as are wanted, and no more.
                if found.submission not in copies and len(copies) < MAX_NEAR_COPIES:
                    copies[found.submission] = found
                    self._notify("near_copy", other=found.submission, distance=found.distance)
            elif isinstance(message, messages.Overlap):
                overlaps.append(message.overlap)

        access = Access(
            readable=(request.mirror, request.pools),
            writable=(request.mirror / "pool-index", request.mirror / LIKENESSES),
        )
        self._child(verify_entry, request.model_dump_json(), access, listen, self._settings.intake_seconds)
        for overlap in overlaps:
            if overlap.copied:
                self._notify("contamination", task=overlap.task, copied=overlap.copied, images=overlap.images)
        found = {"near_copies": tuple(copies.values()), "overlaps": tuple(overlaps)}
        return IntakeVerified(attempt=self.grant.attempt, manifest=manifest, **found)

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
        source = Source(endpoint=grant.hub_endpoint, repo=grant.repo, revision=grant.revision, path=grant.path)
        archiving = self._archiving()
        # Another scorer may have had it when the Hub still did: the fetching process then finds it in the mirror.
        archived = archiving is not None and archiving.restore(grant.submission_id, source)
        request = FetchRequest(
            source=source,
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
        if archiving is not None and not archived:
            entry = MirroredEntry(source=source, manifest=found[0])
            self._notify("archived", bytes=archiving.deposit(grant.submission_id, entry))
        return found[0]

    def _archiving(self) -> Archiving | None:
        """The archive of all scorers beside the mirror of this one, if there is one. Its credentials stay here."""
        settings = self._settings
        if settings.archive is None:
            return None
        patience = Patience(self._guard.check, settings.intake_seconds, settings.free_bytes)
        archive = Archive.open(settings.archive.get_secret_value())
        return Archiving(Mirror(settings.mirror_root), archive, patience)

    def _score(self, competition: Competition) -> ScoringComplete:
        manifest = self.grant.manifest
        if manifest is None:
            raise EngineError(f"Scoring job {self.grant.job_id} came without a manifest.")
        predicted = find_track(competition, self.grant.track).entry is EntryKind.PREDICTIONS
        judged = manifest.only(FileRole.PREDICTIONS if predicted else FileRole.MODEL)
        pending = [task.id for task in competition.suite.tasks if task.id not in self.grant.finished_tasks]
        pending = self._take_over(pending)
        if pending:
            self._have(judged)
            self._evaluate(competition, judged.sha256, pending)
        return ScoringComplete(attempt=self.grant.attempt)

    def _take_over(self, pending: list[str]) -> list[str]:
        """In a re-scoring, hand in what is known already; what is left to evaluate."""
        order = self.grant.rescoring
        known = [task for task in pending if order is not None and task in order.taken_over]
        for task in known:
            self._client.take_over_result(self.grant, ResultTakenOver(attempt=self.grant.attempt, task=task))
            self._notify("taken_over", task=task)
        return [task for task in pending if task not in known]

    def _have(self, judged: ManifestFile) -> None:
        """Intake ran where the mirror may be another one: what is to be scored comes from the archive, else the Hub.

        The entry was verified: if it is gone by now, that is no fault of its own, and whoever has it must see to it.
        """
        mirror = Mirror(self._settings.mirror_root)
        if mirror.holds(judged.sha256, judged.size):
            return
        archiving = self._archiving()
        if archiving is not None:
            archiving.bring(file for file in (judged, self._reported()) if file is not None)
            if mirror.holds(judged.sha256, judged.size):
                return
        try:
            self._fetch(competition_of(self.grant, self._settings.competitions))
        except RejectionError as error:
            place = "is in neither this scorer's mirror nor the archive"
            lacking = place if archiving else "is not in this scorer's mirror"
            raise StorageError(
                f"The verified entry {lacking}, and cannot be fetched again: {error.message}",
                hint="Set DATACUP_ARCHIVE of all scorers to one place (`datacup-scorer mirror push` fills it), "
                "then `datacup-leaderboard submission requeue`.",
            ) from error

    def _evaluate(self, competition: Competition, judged_sha256: str, pending: list[str]) -> None:
        """Have the tasks evaluated; every result is handed in as it comes."""
        settings, reported = self._settings, self._reported()
        request = EvaluateRequest(
            competition=competition,
            track=self.grant.track,
            scale=self.grant.scale,
            tasks=tuple(pending),
            judged_sha256=judged_sha256,
            reported_sha256=reported.sha256 if reported is not None else None,
            mirror=settings.mirror_root,
            evaluation=settings.evaluation_root,
            threads=settings.threads,
        )
        # Sets that are made from code are made without the entry, because with it they cannot be written.
        if must_be_made(competition.suite.id, settings.evaluation_root):
            sets = SetsRequest(suite=competition.suite.id, evaluation=settings.evaluation_root).model_dump_json()
            writing = Access(readable=settings.further_folders, writable=(settings.evaluation_root,))
            self._child(prepare_sets, sets, writing, lambda _message: None, settings.intake_seconds)
        tasks = OpenTasks(self._client, self.grant, self._notify, pending)
        self._engine.evaluate(task_work(request, settings), tasks, self._guard)
        if tasks.left:
            raise EngineError(f"The evaluation ended without a result of {tasks.left[0]!r}.")

    def _reported(self) -> ManifestFile | None:
        """The entry's own evaluation report, where it has one."""
        files = self.grant.manifest.files if self.grant.manifest else ()
        return next((file for file in files if file.role is FileRole.EVALUATION_REPORT), None)

    def _child(
        self,
        chore: Chore,
        request: str,
        access: Access,
        listen: Callable[[messages.Message], None],
        seconds: float,
        file_bytes: int = CACHE_FILE_BYTES,
    ) -> None:
        settings = self._settings
        bounds = bounds_of(settings, seconds, file_bytes)

        def on_message(message: messages.Message) -> None:
            if isinstance(message, messages.Damaged):
                # Only here may the mirror be written; the word of a process that has read an entry is not enough.
                Mirror(settings.mirror_root).verified(message.sha256)
            listen(message)

        self._children.run(chore, request, bounds, access=access, on_message=on_message, guard=self._guard.check)

    def _stage(self, stage: str) -> None:
        self._client.report_stage(self.grant, StageReport(attempt=self.grant.attempt, stage=stage))
        self._notify("stage", stage=stage)
