"""The tables. Who may change what when is decided in the services; the database holds what must never be otherwise."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from competition.errors import RejectionReason
from competition.records.lifecycle import Eligibility, JobKind, Processing, Trust, Visibility
from competition.records.rescoring import RescoringState
from leaderboard.columns import BigKey, UtcDateTime, words

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
_ID = String(64)
_DIGEST = String(64)


class Base(DeclarativeBase):
    """Base of all tables; every constraint has a name, so that a migration can speak of it."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 (read by SQLAlchemy as a class attribute)
        datetime: UtcDateTime,
        int: BigKey,
        float: Float(53),
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


class JobState(StrEnum):
    """Where a job stands. ``dead``: given up after too many tries."""

    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Account(Base):
    """Somebody who enters, scores or organises."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(_ID, unique=True)
    created_at: Mapped[datetime]


class Token(Base):
    """A bearer token of an account, known only by its sha256."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    digest: Mapped[str] = mapped_column(_DIGEST, unique=True)
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]

    account: Mapped[Account] = relationship(lazy="raise")


class PublishedCompetition(Base):
    """One version of a competition's document. A version never changes once it is published."""

    __tablename__ = "competitions"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(_DIGEST)
    document: Mapped[str] = mapped_column(Text)
    published_at: Mapped[datetime]


class Submission(Base):
    """An entry, on its three axes. ``version`` counts the changes: each is a compare-and-set."""

    __tablename__ = "submissions"
    __table_args__ = (
        UniqueConstraint("account_id", "idempotency_key"),
        ForeignKeyConstraint(["competition", "competition_version"], ["competitions.id", "competitions.version"]),
        Index("ix_submissions_newest", "created_at", "id"),
        Index("ix_submissions_board", "competition", "track", "scale", "processing"),
    )

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    idempotency_key: Mapped[str] = mapped_column(_DIGEST)
    request_digest: Mapped[str] = mapped_column(_DIGEST)
    nonce: Mapped[str] = mapped_column(_DIGEST)

    competition: Mapped[str] = mapped_column(_ID)
    competition_version: Mapped[int]
    competition_digest: Mapped[str] = mapped_column(_DIGEST)
    track: Mapped[str] = mapped_column(_ID)
    scale: Mapped[str] = mapped_column(_ID)
    recipe_digest: Mapped[str] = mapped_column(_DIGEST)
    suite: Mapped[str] = mapped_column(String(128))
    suite_digest: Mapped[str] = mapped_column(_DIGEST)

    method_name: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    hub_endpoint: Mapped[str] = mapped_column(Text)
    repo: Mapped[str] = mapped_column(Text)
    revision: Mapped[str | None] = mapped_column(String(40))
    path: Mapped[str | None] = mapped_column(Text)

    processing: Mapped[Processing] = mapped_column(words(Processing, "processing"), index=True)
    stage: Mapped[str | None] = mapped_column(_ID)
    visibility: Mapped[Visibility] = mapped_column(words(Visibility, "visibility"))
    eligibility: Mapped[Eligibility] = mapped_column(words(Eligibility, "eligibility"))
    trust: Mapped[Trust] = mapped_column(words(Trust, "trust"))
    rejection_reason: Mapped[RejectionReason | None] = mapped_column(
        words(RejectionReason, "rejection_reason", checked=False)
    )
    rejection_message: Mapped[str | None] = mapped_column(Text)
    failure: Mapped[str | None] = mapped_column(Text)

    manifest: Mapped[str | None] = mapped_column(Text, deferred=True)
    subset_samples: Mapped[int | None]
    subset_unique: Mapped[int | None]

    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    received_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]

    account: Mapped[Account] = relationship(lazy="raise")


class Evaluation(Base):
    """The evaluation of a submission under one suite. A re-scoring stands beside it until it is published.

    ``score`` is null where all entries together make it (average ranks), ``replicates`` also where a task has none.
    """

    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("submission_id", "suite_digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"))
    suite: Mapped[str] = mapped_column(String(128))
    suite_digest: Mapped[str] = mapped_column(_DIGEST, index=True)
    created_at: Mapped[datetime]
    published_at: Mapped[datetime | None]
    score: Mapped[float | None]
    score_low: Mapped[float | None]
    score_high: Mapped[float | None]
    replicates: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)


class TaskOutcome(Base):
    """The accepted result of one task; there is never a second one.

    ``low``, ``high``, ``confidence``, ``method`` and ``replicates`` are all there, or all null: no interval is known.
    """

    __tablename__ = "task_results"
    __table_args__ = (UniqueConstraint("evaluation_id", "task"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluations.id"))
    task: Mapped[str] = mapped_column(_ID)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    attempt: Mapped[int]
    digest: Mapped[str] = mapped_column(_DIGEST)
    value: Mapped[float]
    low: Mapped[float | None]
    high: Mapped[float | None]
    confidence: Mapped[float | None]
    method: Mapped[str | None] = mapped_column(String(32))
    metric: Mapped[str] = mapped_column(Text)
    metrics: Mapped[dict[str, Any]]
    samples: Mapped[int]
    seconds: Mapped[float]
    device: Mapped[str | None] = mapped_column(Text)
    device_seconds: Mapped[float | None]
    outcomes: Mapped[list[Any]] = mapped_column(JSON, deferred=True)
    replicates: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    accepted_at: Mapped[datetime]


class Job(Base):
    """Work for a scorer. ``attempt`` is the fencing number: it grows with every claim, and only the last one counts.

    ``failures`` counts the tries that brought nothing; a job that moves on task by task is not given up.
    ``priority``: the jobs of the lowest number are claimed first.
    ``finish_digest`` is the digest of the last accepted final message, so that repeating it changes nothing.
    ``token_id`` is the token that the last claim came with, ``token_digest`` the sha256 of the one given out for it.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_waiting", "state", "available_at", "id"),
        Index(
            "uq_jobs_live",
            "submission_id",
            unique=True,
            sqlite_where=text("state IN ('ready', 'leased')"),
            postgresql_where=text("state IN ('ready', 'leased')"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), index=True)
    evaluation_id: Mapped[int | None] = mapped_column(ForeignKey("evaluations.id"))
    kind: Mapped[JobKind] = mapped_column(words(JobKind, "kind"))
    state: Mapped[JobState] = mapped_column(words(JobState, "state"))
    attempt: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    available_at: Mapped[datetime]
    holder_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    token_id: Mapped[int | None] = mapped_column(ForeignKey("tokens.id"))
    token_digest: Mapped[str | None] = mapped_column(_DIGEST)
    worker: Mapped[str | None] = mapped_column(Text)
    lease_expires_at: Mapped[datetime | None] = mapped_column(index=True)
    finish_attempt: Mapped[int | None]
    finish_digest: Mapped[str | None] = mapped_column(_DIGEST)
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Rescoring(Base):
    """Evaluations of a competition's entries under another suite, which are published together or not at all.

    ``document`` is the competition's version with that suite; it is published with them. One at a time is open.
    """

    __tablename__ = "rescorings"
    __table_args__ = (
        Index(
            "uq_rescorings_open",
            "competition",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    competition: Mapped[str] = mapped_column(_ID, index=True)
    version_before: Mapped[int]
    version_after: Mapped[int]
    digest: Mapped[str] = mapped_column(_DIGEST)
    document: Mapped[str] = mapped_column(Text)
    track: Mapped[str | None] = mapped_column(_ID)
    scale: Mapped[str | None] = mapped_column(_ID)
    phase: Mapped[str | None] = mapped_column(_ID)
    fresh: Mapped[bool]
    state: Mapped[RescoringState] = mapped_column(words(RescoringState, "state"))
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class RescoredEntry(Base):
    """One entry of a re-scoring. Scores and ranks are those of the moment of publication."""

    __tablename__ = "rescored_entries"

    rescoring_id: Mapped[int] = mapped_column(ForeignKey("rescorings.id"), primary_key=True, autoincrement=False)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), primary_key=True)
    before_id: Mapped[int] = mapped_column(ForeignKey("evaluations.id"))
    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluations.id"))
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), unique=True)
    failure: Mapped[str | None] = mapped_column(Text)
    score_before: Mapped[float | None]
    score_after: Mapped[float | None]
    rank_before: Mapped[int | None]
    rank_after: Mapped[int | None]


class Audit(Base):
    """An audit's report, whole: hidden tasks are among its numbers, so that the public log has its digest alone."""

    __tablename__ = "audits"
    __table_args__ = (UniqueConstraint("submission_id", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"))
    digest: Mapped[str] = mapped_column(_DIGEST)
    report: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[datetime]


class EventRow(Base):
    """One line of a submission's log; ``hash`` covers the line and the one before."""

    __tablename__ = "events"

    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[dict[str, Any]]
    previous_hash: Mapped[str] = mapped_column(_DIGEST)
    hash: Mapped[str] = mapped_column(_DIGEST)


class ReferenceSetRow(Base):
    """One version of a set of reference results; its content never changes. ``about`` is all of it but the rows.

    The one that is shown is neither replaced nor removed. Removing deletes the rows and keeps this.
    """

    __tablename__ = "reference_sets"
    __table_args__ = (UniqueConstraint("competition", "name", "version"),)

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    competition: Mapped[str] = mapped_column(_ID)
    name: Mapped[str] = mapped_column(_ID)
    version: Mapped[int]
    track: Mapped[str | None] = mapped_column(_ID)
    suite: Mapped[str | None] = mapped_column(String(128))
    about: Mapped[dict[str, Any]]
    digest: Mapped[str] = mapped_column(_DIGEST)
    row_count: Mapped[int]
    importer: Mapped[str] = mapped_column(_ID)
    imported_at: Mapped[datetime]
    replaced_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]


class ReferenceLine(Base):
    """One row of a set, as the JSON of its record."""

    __tablename__ = "reference_rows"

    set_id: Mapped[str] = mapped_column(ForeignKey("reference_sets.id"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    scale: Mapped[str] = mapped_column(_ID)
    content: Mapped[str] = mapped_column(Text)
