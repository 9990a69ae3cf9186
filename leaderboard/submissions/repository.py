"""Queries about submissions and their results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session, joinedload

from competition.records.lifecycle import Processing
from leaderboard.accounts.viewer import Viewer
from leaderboard.models import Account, Evaluation, Job, Submission, TaskOutcome
from leaderboard.visibility import may_name, visible_to


@dataclass(frozen=True)
class Filter:
    """What a list of submissions is narrowed to; None = everything. ``after`` is the last item of the page before."""

    competition: str | None = None
    track: str | None = None
    scale: str | None = None
    account: str | None = None
    processing: Processing | None = None
    received_from: datetime | None = None
    received_before: datetime | None = None
    after: tuple[datetime, str] | None = None
    limit: int = 50


def find(session: Session, submission_id: str, viewer: Viewer) -> Submission | None:
    """A submission that the viewer may know of, with its account."""
    query = select(Submission).options(joinedload(Submission.account))
    return session.scalar(query.where(Submission.id == submission_id, visible_to(viewer)))


def named(session: Session, submission_ids: Collection[str], viewer: Viewer) -> dict[str, Submission]:
    """Those of the submissions that may be named to the viewer, with their accounts."""
    if not submission_ids:
        return {}
    query = select(Submission).options(joinedload(Submission.account))
    found = session.scalars(query.where(Submission.id.in_(submission_ids), visible_to(viewer)))
    return {submission.id: submission for submission in found if may_name(submission, viewer)}


def lock(session: Session, submission_id: str) -> Submission | None:
    """A submission, locked until the transaction ends. Whoever changes it, its jobs or its log locks it first."""
    return _locked(session, Submission.id == submission_id)


def lock_of_job(session: Session, job_id: int) -> Submission | None:
    """The submission that a job is about, locked in the same way."""
    return _locked(session, Submission.id == select(Job.submission_id).where(Job.id == job_id).scalar_subquery())


def _locked(session: Session, which: ColumnElement[bool]) -> Submission | None:
    query = select(Submission).where(which).with_for_update()
    return session.scalar(query.execution_options(populate_existing=True))


def by_idempotency_key(session: Session, account_id: int, key: str) -> Submission | None:
    """The submission that this account registered with that key."""
    query = select(Submission).where(Submission.account_id == account_id, Submission.idempotency_key == key)
    return session.scalar(query)


def page(session: Session, wanted: Filter, viewer: Viewer) -> Sequence[Submission]:
    """Submissions that the viewer may know of, newest first, one more than the limit if there are more."""
    query = select(Submission).options(joinedload(Submission.account)).where(visible_to(viewer))
    for column, value in (
        (Submission.competition, wanted.competition),
        (Submission.track, wanted.track),
        (Submission.scale, wanted.scale),
        (Submission.processing, wanted.processing),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.received_from is not None:
        query = query.where(Submission.received_at >= wanted.received_from)
    if wanted.received_before is not None:
        query = query.where(Submission.received_at < wanted.received_before)
    if wanted.account is not None:
        query = query.where(Submission.account_id.in_(select(Account.id).where(Account.name == wanted.account)))
    if wanted.after is not None:
        at, last = wanted.after
        older = and_(Submission.created_at == at, Submission.id < last)
        query = query.where(or_(Submission.created_at < at, older))
    query = query.order_by(Submission.created_at.desc(), Submission.id.desc()).limit(wanted.limit + 1)
    return session.scalars(query).all()


def old_drafts(session: Session, before: datetime) -> Sequence[str]:
    """Ids of registrations older than that, to which nothing was uploaded."""
    query = select(Submission.id).where(Submission.processing == Processing.DRAFT, Submission.created_at < before)
    return session.scalars(query.order_by(Submission.created_at).limit(100)).all()


def lock_account(session: Session, account_id: int) -> str:
    """An account's name; it stays locked until the transaction ends."""
    return session.execute(select(Account.name).where(Account.id == account_id).with_for_update()).scalar_one()


@dataclass(frozen=True)
class Entries:
    """Numbers of received entries that count, and of those that ended invalid."""

    today: int
    total: int
    invalid_today: int


def count_entries(
    session: Session,
    account_id: int,
    competition: str,
    opens: datetime,
    closes: datetime | None,
    midnight: datetime,
) -> Entries:
    """Entries of an account that were registered between ``opens`` and ``closes``; "today" is from ``midnight`` on."""
    counts = Submission.processing.not_in((Processing.INVALID, Processing.FAILED, Processing.CANCELLED))
    today = Submission.received_at >= midnight
    query = select(
        func.count().filter(counts, today),
        func.count().filter(counts),
        func.count().filter(Submission.processing == Processing.INVALID, today),
    ).where(
        Submission.account_id == account_id,
        Submission.competition == competition,
        Submission.received_at.is_not(None),
        Submission.created_at >= opens,
    )
    if closes is not None:
        query = query.where(Submission.created_at < closes)
    return Entries(*session.execute(query).one())


def current_evaluations(session: Session, submissions: Sequence[Submission]) -> Mapping[str, Evaluation]:
    """Of each submission the newest published evaluation, or else the one that is being made for the first time.

    What is evaluated anew under another suite shows only when it is published.
    """
    wanted = {submission.id: submission.suite_digest for submission in submissions}
    query = select(Evaluation).where(Evaluation.submission_id.in_(list(wanted)))
    found: dict[str, Evaluation] = {}
    for evaluation in session.scalars(query.order_by(Evaluation.published_at, Evaluation.id)):
        best = found.get(evaluation.submission_id)
        first = evaluation.suite_digest == wanted[evaluation.submission_id]
        if evaluation.published_at is None:
            if first and best is None:
                found[evaluation.submission_id] = evaluation
        elif best is None or best.published_at is None or best.published_at <= evaluation.published_at:
            found[evaluation.submission_id] = evaluation
    return found


def results(session: Session, evaluations: Mapping[str, Evaluation]) -> Mapping[str, list[TaskOutcome]]:
    """The accepted results of each submission's evaluation."""
    submissions = {evaluation.id: submission for submission, evaluation in evaluations.items()}
    found: dict[str, list[TaskOutcome]] = {submission: [] for submission in evaluations}
    query = select(TaskOutcome).where(TaskOutcome.evaluation_id.in_(list(submissions)))
    for outcome in session.scalars(query):
        found[submissions[outcome.evaluation_id]].append(outcome)
    return found


def compare_and_set(session: Session, submission: Submission, values: Mapping[str, Any]) -> bool:
    """Set columns if the submission is as it was read; False when it is not. ``submission`` is read anew."""
    query = update(Submission).where(
        Submission.id == submission.id,
        Submission.processing == submission.processing,
        Submission.version == submission.version,
    )
    done = session.scalar(
        query.values({**values, "version": submission.version + 1}).returning(Submission),
        execution_options={"synchronize_session": False, "populate_existing": True},
    )
    return done is not None
