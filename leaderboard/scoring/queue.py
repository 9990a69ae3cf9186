"""The queue of jobs in the database: waiting, leased, lost, given up.

A claim is a lease with a fencing number. The jobs of a re-scoring come after all others, and do not move their
submission, which is scored and stays so. On SQLite the writer's lock makes claims one at a time; on PostgreSQL rows
that another claimer has locked are skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.orm import Session

from competition.errors import ConflictError, NotFoundError
from competition.records.lifecycle import JobKind, Processing, Visibility
from competition.records.scoring import ClaimRequest
from leaderboard.accounts.viewer import SYSTEM, Act, Viewer
from leaderboard.events import service as events
from leaderboard.models import Job, JobState, Submission
from leaderboard.rescoring import repository as rescorings
from leaderboard.scoring import job_tokens, repository
from leaderboard.submissions import lifecycle
from leaderboard.submissions import repository as submissions

log = structlog.get_logger()
_MAX_BACKOFF_SECONDS = 3600.0
# Two who look at the clock and then wait for each other's transaction disagree by no more: that is no clock set back.
_SKEW = timedelta(seconds=60)


@dataclass(frozen=True)
class Patience:
    """How long the platform waits and how often it tries. Times in seconds; ``tries`` are those without progress."""

    lease: int
    tries: int
    backoff: float

    def delay(self, failures: int) -> timedelta:
        """The wait before the next try after that many failures: doubles each time, at most an hour."""
        return timedelta(seconds=min(self.backoff * 2.0 ** min(failures - 1, 20), _MAX_BACKOFF_SECONDS))


def enqueue(
    session: Session,
    submission: Submission,
    kind: JobKind,
    now: datetime,
    *,
    evaluation_id: int | None = None,
    priority: int = 0,
) -> Job:
    """A new job that anybody may claim at once, after those of a lower ``priority``."""
    job = Job(
        submission_id=submission.id,
        evaluation_id=evaluation_id,
        kind=kind,
        state=JobState.READY,
        priority=priority,
        available_at=now,
        created_at=now,
    )
    session.add(job)
    session.flush()
    return job


def cancel(session: Session, submission_id: str, now: datetime) -> None:
    """End the live job of a submission, if any: its worker is told at its next message."""
    job = repository.live_job(session, submission_id)
    if job is not None:
        repository.update_job(session, job, {"state": JobState.CANCELLED, "ended_at": now})


def lease(
    session: Session, wanted: ClaimRequest, viewer: Viewer, act: Act, patience: Patience
) -> tuple[Job, Submission, str] | None:
    """Lease the oldest waiting job of the lowest priority number, under a new attempt number.

    Its token is new, and stored nowhere.
    """
    found = repository.next_ready(session, wanted.kinds, act.at, wanted.only)
    if found is None:
        return None
    job, submission = found
    token, digest = job_tokens.make(job.id, job.attempt + 1)
    values = {
        "state": JobState.LEASED,
        "attempt": job.attempt + 1,
        "holder_id": viewer.account_id,
        "token_id": viewer.token_id,
        "token_digest": digest,
        "worker": wanted.worker,
        "lease_expires_at": act.at + timedelta(seconds=patience.lease),
    }
    repository.update_job(session, job, values)
    detail: dict[str, Any] = {"job": job.kind.value, "attempt": job.attempt}
    rescored = rescorings.of_job(session, job.id)
    if rescored is not None:
        detail["rescoring"] = rescored.rescoring_id
    if job.kind is JobKind.SCORING and rescored is None:
        lifecycle.move(session, submission, Processing.LEASED, act, kind="claimed", detail=detail)
    else:
        events.append(session, submission.id, act, "claimed", detail=detail)
    return job, submission, token


def give_back(
    session: Session, job: Job, submission: Submission, act: Act, patience: Patience, *, kind: str, message: str
) -> None:
    """A try has failed through no fault of the entry: wait and try again, or give up and say so."""
    failures = job.failures + 1
    detail: dict[str, Any] = {"job": job.kind.value, "attempt": job.attempt, "failures": failures, "message": message}
    rescored = rescorings.of_job(session, job.id)
    if rescored is not None:
        detail["rescoring"] = rescored.rescoring_id
    if failures >= patience.tries:
        values = {"state": JobState.DEAD, "failures": failures, "ended_at": act.at, "lease_expires_at": None}
        repository.update_job(session, job, values)
        events.append(session, submission.id, act, kind, detail=detail)
        failure = f"Given up after {failures} tries without progress. {message}"
        if rescored is None:
            lifecycle.move(
                session, submission, Processing.FAILED, act, kind="dead_lettered", values={"failure": failure}
            )
        else:
            rescored.failure = failure
            events.append(session, submission.id, act, "dead_lettered", detail={"rescoring": rescored.rescoring_id})
        # The operator's alert: nothing but a person gets this entry on its way again (`submission requeue`).
        log.error("job_given_up", submission=submission.id, job=job.kind.value, failures=failures, message=message)
        return
    wait = patience.delay(failures)
    values = {
        "state": JobState.READY,
        "failures": failures,
        "available_at": act.at + wait,
        "lease_expires_at": None,
    }
    repository.update_job(session, job, values)
    detail["retry_in_seconds"] = round(wait.total_seconds(), 3)
    if rescored is None:
        lifecycle.move(session, submission, lifecycle.WAITING[job.kind], act, kind=kind, detail=detail)
    else:
        events.append(session, submission.id, act, kind, detail=detail)


def reap(session: Session, now: datetime, patience: Patience) -> int:
    """Take back every job whose lease has ended, and give a job to every submission that lacks one; how many."""
    act = Act(SYSTEM, now)
    _redate(session, now, patience)
    lapsed = repository.lapsed(session, now)
    for job, submission in lapsed:
        message = "The worker was not heard of until its lease ended."
        give_back(session, job, submission, act, patience, kind="lease_expired", message=message)
    orphans = [_adopt(session, submission_id, act) for submission_id in repository.without_job(session)]
    return len(lapsed) + sum(orphans)


def _redate(session: Session, now: datetime, patience: Patience) -> None:
    """Where the clock was set back, count what the wrong one had begun from now on: nobody waits until it is right."""
    lease, longest = timedelta(seconds=patience.lease), patience.delay(max(1, patience.tries - 1))
    found = repository.misdated(session, now + _SKEW, lease, longest)
    for job, _submission in found:
        waits = job.state is JobState.READY
        values = {"available_at": now} if waits else {"lease_expires_at": now + lease}
        repository.update_job(session, job, values)
    if found:
        log.warning("clock_was_set_back", jobs=len(found))


def requeue(session: Session, submission_id: str, act: Act) -> JobKind:
    """Take up work that was given up, from where it stopped (an operator's act, once the platform is mended).

    Raises:
        NotFoundError: there is no such submission.
        ConflictError: it has not failed, or was withdrawn.
    """
    submission = submissions.lock(session, submission_id)
    if submission is None:
        raise NotFoundError(f"There is no submission {submission_id!r}.", hint="Check the id.")
    if submission.processing is not Processing.FAILED:
        raise ConflictError(
            f"Submission {submission_id} is {submission.processing.value}, not failed.",
            hint="Only work that was given up can be taken up again.",
        )
    if submission.visibility is Visibility.WITHDRAWN:
        raise ConflictError(f"Submission {submission_id} was withdrawn.", hint="A withdrawn entry never comes back.")
    return _work_again(session, submission, act)


def _adopt(session: Session, submission_id: str, act: Act) -> bool:
    submission = submissions.lock(session, submission_id)
    gone = submission is None or submission.processing.terminal or repository.live_job(session, submission_id)
    if gone or submission is None:
        return False
    _work_again(session, submission, act)
    return True


def _work_again(session: Session, submission: Submission, act: Act) -> JobKind:
    """A new job for what is left to do; results that were accepted stay."""
    evaluation = repository.evaluation_under(session, submission.id, submission.suite_digest)
    kind = JobKind.INTAKE if evaluation is None else JobKind.SCORING
    detail = {"job": kind.value}
    lifecycle.move(
        session, submission, lifecycle.WAITING[kind], act, kind="requeued", values={"failure": None}, detail=detail
    )
    enqueue(session, submission, kind, act.at, evaluation_id=evaluation.id if evaluation else None)
    return kind
