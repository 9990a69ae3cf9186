"""What a participant and the API say to each other about submissions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from competition.errors import RejectionReason
from competition.records.base import (
    CommitSha,
    HttpUrl,
    Identifier,
    Line,
    Prose,
    Record,
    RelativePath,
    RepoId,
    Sha256,
    Timestamp,
)
from competition.records.evaluation import Interval
from competition.records.lifecycle import Eligibility, Processing, Trust, Visibility


class SubmissionRegistration(Record):
    """First step of entering: announce the entry, before anything is uploaded."""

    idempotency_key: Sha256 = Field(description="repeating a registration with the same key yields the same ticket")
    competition: Identifier
    track: Identifier
    scale: Identifier
    method_name: Line
    author: Line
    description: Prose = ""
    hub_endpoint: HttpUrl
    repo: RepoId


class SubmissionTicket(Record):
    """The API's answer: the entry's id, and the nonce that its manifest must carry."""

    submission_id: Identifier
    nonce: Sha256
    processing: Processing


class SubmissionRevision(Record):
    """Second step: the upload is complete; this commit and folder of the repository are the entry."""

    revision: CommitSha
    path: RelativePath = Field(description="the submission's folder inside the repository")


class SubmissionWithdrawal(Record):
    """An entry is taken back."""

    reason: Annotated[Prose, Field(max_length=1000)] = Field(
        default="", description="for the log; its author and the organisers can read it"
    )


def value_text(value: float) -> str:
    """A metric's value for people: three decimals, three digits below 0.01, and a count as the whole number it is."""
    if value.is_integer() and abs(value) > 1:
        return f"{value:,.0f}"
    return f"{value:.3g}" if 0 < abs(value) < 0.01 else f"{value:,.3f}"


class Score(Record):
    """A value with its interval; in [0, 1] where it is a share."""

    value: float
    interval: Interval | None = Field(description="None: not known, since nothing independent was resampled")


class TaskScore(Record):
    """The result of one task as the API shows it: without the single outcomes."""

    task: Identifier
    title: str
    metric: str
    score: Score
    metrics: dict[str, float | None]
    samples: int
    seconds: float


class Rejection(Record):
    """Why an entry ended ``invalid``, and what can be done about it."""

    reason: RejectionReason
    message: str
    hint: str


class NearCopyNotice(Record):
    """The weights are nearly those of another entry that was verified earlier: a sign, and no proof."""

    kind: Literal["near_copy"] = "near_copy"
    other: Identifier | None = Field(description="None: an entry that you may not know of")
    other_account: str | None
    distance: float = Field(description="relative, of a sample of the weights; 0 = the same")
    at: Timestamp


class ReportedGapNotice(Record):
    """The entry's own evaluation report says something else of a task than was verified."""

    kind: Literal["reported_gap"] = "reported_gap"
    task: Identifier
    title: str
    reported: float
    verified: float
    at: Timestamp


Notice = Annotated[NearCopyNotice | ReportedGapNotice, Field(discriminator="kind")]
"""Something that was found while an entry was verified or scored, and that changes no score."""


class Withdrawal(Record):
    """When an entry was taken back, and by whom."""

    at: Timestamp
    by_author: bool = Field(description="if not, by the organisers")
    reason: str | None = Field(description="None: none was given, or you may not read it")


class SubmissionView(Record):
    """A submission as the API shows it. Of a withdrawn one the public sees that it was, and who had entered it."""

    id: Identifier
    competition: Identifier
    track: Identifier
    scale: Identifier
    method_name: str
    author: str
    description: str
    account: str
    hub_endpoint: str
    repo: str
    revision: str | None
    path: str | None
    processing: Processing
    stage: str | None = Field(description="while running: the task being evaluated")
    visibility: Visibility
    eligibility: Eligibility
    trust: Trust
    rejection: Rejection | None
    failure: str | None = Field(description="what went wrong on the platform's side")
    subset_samples: int | None
    subset_unique: int | None
    suite: str = Field(description="that the results are of: of the newest published evaluation")
    tasks_total: int
    results: list[TaskScore]
    notices: list[Notice] = Field(default=[], description="what was found and changes no score, oldest first")
    withdrawal: Withdrawal | None = None
    created_at: Timestamp
    updated_at: Timestamp


class Allowance(Record):
    """One bound on an account's entries. ``left`` is None where there is none."""

    limit: int | None
    used: int
    left: int | None


class QuotaView(Record):
    """What an account may still enter in the phase that is open."""

    competition: Identifier
    account: str
    phase: Identifier
    phase_closes: Timestamp | None
    today: Allowance = Field(description="entries received since 00:00:00 UTC")
    phase_total: Allowance
    invalid_today: Allowance
    resets_at: Timestamp = Field(description="when a new day begins (UTC)")


class SubmissionPage(Record):
    """A page of submissions, newest first. ``next_cursor`` is None on the last page."""

    items: list[SubmissionView]
    next_cursor: str | None
