"""The metrics of the queue: its age, what went through it, and what failed for which reason."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from competition.exposition import Family
from competition.records.lifecycle import JobKind, Processing
from leaderboard.metrics import repository
from leaderboard.models import JobState

_ENDED = (JobState.DONE, JobState.DEAD, JobState.CANCELLED)
_LIVE = (JobState.READY, JobState.LEASED)


def collect(session: Session, now: datetime) -> list[Family]:
    """All families, from the database as it is; samples that are 0 are there, so that an alert can look at them."""
    return [*_queue(session, now), *_throughput(session, now), *_submissions(session)]


def _queue(session: Session, now: datetime) -> list[Family]:
    live = Family("datacup_queue_jobs", "gauge", "Jobs that wait or are being done.", ("kind", "state"))
    age = Family(
        "datacup_queue_oldest_seconds", "gauge", "How long the oldest job that may be claimed has waited.", ("kind",)
    )
    since = repository.waiting_since(session, now)
    for kind in JobKind:
        age.set((now - since[kind]).total_seconds() if kind in since else 0.0, kind.value)
        for state in _LIVE:
            live.set(0, kind.value, state.value)
    for count in repository.job_counts(session):
        if count.state in _LIVE:
            live.set(count.jobs, count.kind.value, count.state.value)
    return [live, age]


def _throughput(session: Session, now: datetime) -> list[Family]:
    claims = Family("datacup_queue_claims_total", "counter", "Times that jobs were claimed.", ("kind",))
    ended = Family("datacup_queue_ended_jobs_total", "counter", "Jobs that ended, by state.", ("kind", "state"))
    lately = Family("datacup_queue_ended_last_hour", "gauge", "Jobs that ended in the last hour.", ("kind", "state"))
    results = Family("datacup_results_total", "counter", "Accepted results of tasks.")
    results.set(repository.result_count(session))
    recent = repository.ended_since(session, now - timedelta(hours=1))
    for kind in JobKind:
        claims.set(0, kind.value)
        for state in _ENDED:
            ended.set(0, kind.value, state.value)
            lately.set(recent.get((kind, state), 0), kind.value, state.value)
    for count in repository.job_counts(session):
        claims.add(count.claims, count.kind.value)
        if count.state in _ENDED:
            ended.set(count.jobs, count.kind.value, count.state.value)
    return [claims, ended, lately, results]


def _submissions(session: Session) -> list[Family]:
    standing = Family("datacup_submissions", "gauge", "Submissions, by where they stand.", ("processing",))
    reasons = Family("datacup_rejected_submissions", "gauge", "Invalid submissions, by reason.", ("reason",))
    counts = repository.submission_counts(session)
    for processing in Processing:
        standing.set(counts.get(processing, 0), processing.value)
    for reason, count in repository.rejection_counts(session).items():
        reasons.set(count, reason.value)
    return [standing, reasons]
