"""What a scorer and the API say to each other: claims, progress, results.

Every message of a worker carries the attempt number of its lease; the API accepts it only while that attempt is the
live one (fencing), so that a worker that slept past its lease changes nothing. What is said about a job is said with
the token of the attempt, which the claim's answer holds; the worker's own token is for claiming alone.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from competition.errors import RejectionReason
from competition.records.base import (
    CommitSha,
    HttpUrl,
    Identifier,
    Instant,
    Line,
    Record,
    RelativePath,
    RepoId,
    Several,
    Sha256,
)
from competition.records.evaluation import TaskResult
from competition.records.lifecycle import JobKind
from competition.records.manifest import SubmissionManifest
from competition.records.overlap import MAX_TASKS, TaskOverlap


class EntryFilter(Record):
    """Some of the entries: whatever is given must fit. Times are of their receipt, the first one included."""

    competition: Identifier | None = None
    track: Identifier | None = None
    scale: Identifier | None = None
    received_from: Instant | None = None
    received_before: Instant | None = None


class ClaimRequest(Record):
    """A worker asks for one job."""

    worker: Line
    kinds: tuple[JobKind, ...] = Field(default=(JobKind.INTAKE, JobKind.SCORING), min_length=1)
    only: EntryFilter | None = Field(default=None, description="take jobs of these entries alone")


class RescoringOrder(Record):
    """The entry has a score already, and is evaluated under a suite that it was not registered for."""

    competition_version: int = Field(ge=1)
    competition_digest: Sha256
    suite: str
    suite_digest: Sha256
    taken_over: tuple[Identifier, ...] = Field(description="tasks whose older result is theirs, too")


class JobGrant(Record):
    """A leased job: everything that the worker needs to know. The rules are those that the entry was made under."""

    job_id: int
    kind: JobKind
    attempt: int = Field(ge=1)
    token: str = Field(
        repr=False,
        pattern=r"^[A-Za-z0-9._-]{16,256}$",
        description="bearer token for all that is said about this attempt, as long as its lease",
    )
    lease_seconds: int = Field(gt=0)
    submission_id: Identifier
    nonce: Sha256
    competition: Identifier
    competition_digest: Sha256
    track: Identifier
    scale: Identifier
    recipe_digest: Sha256
    suite: str
    suite_digest: Sha256
    hub_endpoint: HttpUrl
    repo: RepoId
    revision: CommitSha
    path: RelativePath
    manifest: SubmissionManifest | None = Field(description="the verified manifest; only for scoring jobs")
    finished_tasks: tuple[Identifier, ...] = Field(description="tasks with an accepted result; not to be run again")
    rescoring: RescoringOrder | None = Field(default=None, description="under which rules it is evaluated instead")


MAX_NEAR_COPIES = 8
"""Of one entry; more would say no more."""


class NearCopy(Record):
    """Another submission whose model is nearly this one's: a sign and no proof, and no reason to refuse the entry."""

    submission: Identifier
    distance: float = Field(ge=0, le=2, description="relative, of a sample of the weights; 0 = the same")


class EntryFiles(Record):
    """Which files a known submission consists of; none before its manifest was verified."""

    submission_id: Identifier
    sha256: tuple[Sha256, ...]


class EntryFilesPage(Record):
    """A page of all submissions that the leaderboard knows, by id. ``next_after`` is None on the last page."""

    items: tuple[EntryFiles, ...]
    next_after: Identifier | None


class AttemptMessage(Record):
    """Base of what a worker says about its job."""

    attempt: int = Field(ge=1)


class Heartbeat(AttemptMessage):
    """The worker is alive: extend the lease."""


class StageReport(AttemptMessage):
    """The work has entered a stage: ``mirrored``, ``validating``, or the id of the task being evaluated."""

    stage: Identifier


class ResultReport(AttemptMessage):
    """One task is finished. Idempotent by (submission, suite version, attempt, task)."""

    result: TaskResult
    reported_gap: float | None = Field(
        default=None, description="what the entry's own report says, less ``result``; None: it says nothing else"
    )


class ResultTakenOver(AttemptMessage):
    """One task of a re-scoring has the result that it had under the older suite. Idempotent like a report."""

    task: Identifier


class IntakeVerified(AttemptMessage):
    """All checks passed: the entry is mirrored and may be scored."""

    outcome: Literal["verified"] = "verified"
    manifest: SubmissionManifest
    near_copies: tuple[NearCopy, ...] = Field(default=(), max_length=MAX_NEAR_COPIES)
    overlaps: Several[TaskOverlap] = Field(
        default=(),
        max_length=MAX_TASKS,
        exclude_if=lambda overlaps: not overlaps,
        description="copies of test images in the entry's data, of the tasks that it was compared with",
    )


class ScoringComplete(AttemptMessage):
    """Every task of the suite has a result."""

    outcome: Literal["scored"] = "scored"


class EntryInvalid(AttemptMessage):
    """The entry breaks a rule."""

    outcome: Literal["invalid"] = "invalid"
    reason: RejectionReason
    message: str = Field(max_length=2000)


class PlatformFailure(AttemptMessage):
    """Something on our side went wrong: retried with back-off, then dead-lettered."""

    outcome: Literal["failed"] = "failed"
    message: str = Field(max_length=2000)


JobOutcome = IntakeVerified | ScoringComplete | EntryInvalid | PlatformFailure


class JobFinish(Record):
    """The last message of a worker about a job."""

    report: JobOutcome = Field(discriminator="outcome")
