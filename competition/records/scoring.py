"""What a scorer and the API say to each other: claims, progress, results.

Every message of a worker carries the attempt number of its lease; the API accepts it only while that attempt is the
live one (fencing), so that a worker that slept past its lease changes nothing.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from competition.errors import RejectionReason
from competition.records.base import (
    CommitSha,
    HttpUrl,
    Identifier,
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


class ClaimRequest(Record):
    """A worker asks for one job."""

    worker: Line
    kinds: tuple[JobKind, ...] = Field(default=(JobKind.INTAKE, JobKind.SCORING), min_length=1)


class JobGrant(Record):
    """A leased job: everything that the worker needs to know."""

    job_id: int
    kind: JobKind
    attempt: int = Field(ge=1)
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


class IntakeVerified(AttemptMessage):
    """All checks passed: the entry is mirrored and may be scored."""

    outcome: Literal["verified"] = "verified"
    manifest: SubmissionManifest
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
