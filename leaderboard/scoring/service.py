"""What a worker may say about its job, and what becomes of the submission.

Every message is checked against the live attempt (fencing) under the submission's lock: a worker that slept past its
lease changes nothing. A result is accepted once; ``scored`` and the aggregate are committed together. A
re-scoring goes the same way, except that its submission stays scored and its numbers wait to be published.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from competition.errors import ConflictError, NotFoundError, ValidationFailedError
from competition.printable import printable
from competition.records.evaluation import TaskResult
from competition.records.lifecycle import JobKind, Processing, Trust
from competition.records.manifest import SubmissionManifest
from competition.records.scoring import (
    AttemptMessage,
    ClaimRequest,
    EntryInvalid,
    Heartbeat,
    IntakeVerified,
    JobFinish,
    JobGrant,
    NearCopy,
    PlatformFailure,
    ResultReport,
    ResultTakenOver,
    StageReport,
)
from competition.rules import Suite
from competition.rules.uncertainty import uncertain_aggregate
from leaderboard.accounts.viewer import Act, Viewer
from leaderboard.competitions import service as competitions
from leaderboard.events import service as events
from leaderboard.events.withholding import NEAR_COPY, TASK_RESULT
from leaderboard.models import Evaluation, Job, JobState, RescoredEntry, Submission, TaskOutcome
from leaderboard.rescoring import repository as rescorings
from leaderboard.scoring import grants, job_tokens, queue, repository, results, taking_over
from leaderboard.scoring.job_tokens import Holder
from leaderboard.scoring.queue import Patience
from leaderboard.submissions import lifecycle
from leaderboard.submissions import repository as submissions

_INTAKE_STAGES = {"mirrored": Processing.MIRRORED, "validating": Processing.VALIDATING}
_MAX_COUNT = 2**53


@dataclass(frozen=True)
class Weighed:
    """A result whose numbers were checked, with its bootstrap replicates: made before the writer's lock is taken.

    ``digest`` is the identity of the result; ``taken_from`` names the suite under which it was accepted before.
    """

    message: ResultReport
    replicates: NDArray[np.float64] | None
    digest: str
    taken_from: str | None = None


@dataclass(frozen=True)
class Held:
    """A live job in the hands of the worker that speaks, with its submission locked.

    ``rescored`` says that it evaluates a scored entry under another suite.
    """

    job: Job
    submission: Submission
    act: Act
    rescored: RescoredEntry | None


def claim(
    session: Session, request: ClaimRequest, viewer: Viewer, now: datetime, patience: Patience
) -> JobGrant | None:
    """Lease the oldest waiting job of the wanted kinds; None when there is none. Lost jobs are taken back first."""
    assert viewer.account_id is not None
    queue.reap(session, now, patience)
    act = Act(viewer.account or "", now)
    found = queue.lease(session, request, viewer, act, patience)
    return None if found is None else grants.grant(session, *found, patience)


def heartbeat(session: Session, job_id: int, message: Heartbeat, holder: Holder, now: datetime, lease: int) -> None:
    """Extend the lease."""
    _extend(session, _hold(session, job_id, message, holder, now), lease)


def report_stage(
    session: Session, job_id: int, message: StageReport, holder: Holder, now: datetime, lease: int
) -> None:
    """Note where the work has come to; repeating it changes nothing but the lease."""
    held = _hold(session, job_id, message, holder, now)
    _extend(session, held, lease)
    if held.job.kind is JobKind.INTAKE:
        to, stage = _INTAKE_STAGES.get(message.stage), None
        allowed = ", ".join(_INTAKE_STAGES)
    else:
        tasks = [task.id for task in _suite(session, held.submission, held.rescored).tasks]
        to, stage = (Processing.RUNNING if message.stage in tasks else None), message.stage
        allowed = ", ".join(tasks)
    if to is None:
        raise ValidationFailedError(
            f"stage: {message.stage!r} is no stage of this job.", hint=f"Stages are: {allowed}."
        )
    if held.rescored is None and (held.submission.processing, held.submission.stage) != (to, stage):
        detail = {"attempt": held.job.attempt} if stage is None else {"task": stage, "attempt": held.job.attempt}
        lifecycle.move(session, held.submission, to, held.act, values={"stage": stage}, detail=detail)


def weigh(session: Session, job_id: int, message: ResultReport) -> Weighed:
    """Check a result's numbers and make its replicates. Reads only; ``accept_result`` decides whether it counts.

    Raises ``NotFoundError`` for an unknown job and ``ValidationFailedError`` for a result that cannot be.
    """
    job = repository.job(session, job_id)
    if job is None or job.evaluation_id is None:
        raise _no_scoring_job(job_id)
    submission = session.get_one(Submission, job.submission_id)
    suite = _suite(session, submission, rescorings.of_job(session, job_id))
    results.check(message.result, suite)
    return Weighed(message, results.replicates_of(message.result, suite.digest), _digest(message.result))


def weigh_taken_over(session: Session, job_id: int, message: ResultTakenOver) -> Weighed:
    """The same for a result that the task had under an older suite, which measures it in the same way."""
    rescored = rescorings.of_job(session, job_id)
    if rescored is None:
        raise NotFoundError(f"There is no re-scoring job {job_id}.", hint="Only these take results over.")
    suite = taking_over.rules_of(session, rescored).suite
    result, digest, suite_before = taking_over.result(session, rescored, suite, message.task)
    results.check(result, suite)
    report = ResultReport(attempt=message.attempt, result=result)
    return Weighed(report, results.replicates_of(result, suite.digest), digest, suite_before)


def accept_result(session: Session, job_id: int, weighed: Weighed, holder: Holder, now: datetime, lease: int) -> None:
    """Store a task's result under the live attempt; repeating it changes nothing.

    Raises ``StaleAttemptError``, or ``ConflictError`` when the task has another accepted result: it is never replaced.
    """
    held = _hold(session, job_id, weighed.message, holder, now)
    if held.job.evaluation_id is None:
        raise _no_scoring_job(job_id)
    result = weighed.message.result
    known = repository.accepted_task(session, held.job.evaluation_id, result.task)
    if known is not None and known.digest != weighed.digest:
        raise ConflictError(
            f"Task {result.task!r} has another accepted result already.", hint="It need not be run again."
        )
    if known is not None:
        _extend(session, held, lease)
        return
    session.add(_outcome(held.job, weighed, now))
    _extend(session, held, lease, failures=0)
    # The log is public, a hidden task's value is not: the digest is enough to prove later what was accepted.
    detail: dict[str, Any] = {"task": result.task, "attempt": held.job.attempt, "result_sha256": weighed.digest}
    if held.rescored is not None:
        detail["rescoring"] = held.rescored.rescoring_id
    if weighed.taken_from is not None:
        detail["taken_over_from"] = weighed.taken_from
    gap = weighed.message.reported_gap
    if gap is not None and _entered_under(session, held, held.job.evaluation_id):
        detail["reported_gap"] = gap
    if held.submission.processing is Processing.LEASED:
        lifecycle.move(session, held.submission, Processing.RUNNING, held.act, values={"stage": result.task})
    events.append(session, held.submission.id, held.act, TASK_RESULT, detail=detail)


def finish(
    session: Session, job_id: int, message: JobFinish, holder: Holder, now: datetime, patience: Patience
) -> None:
    """The last word about a job; repeating it within the attempt changes nothing."""
    report = message.report
    job, submission = _lock(session, job_id)
    if (job.finish_attempt, job.finish_digest) == (report.attempt, _digest(message)):
        return
    held = _live(session, job, submission, report, holder, now)
    _note_finish(session, held, message)
    if isinstance(report, PlatformFailure):
        message_text = printable(report.message, keep="\n")
        queue.give_back(
            session, held.job, held.submission, held.act, patience, kind="platform_failure", message=message_text
        )
    elif isinstance(report, EntryInvalid):
        _end_invalid(session, held, report)
    elif isinstance(report, IntakeVerified):
        _end_intake(session, held, report)
    else:
        _end_scoring(session, held)


def _hold(session: Session, job_id: int, message: AttemptMessage, holder: Holder, now: datetime) -> Held:
    """The job, if the message comes from its live attempt; its submission is locked until the transaction ends."""
    return _live(session, *_lock(session, job_id), message, holder, now)


def _lock(session: Session, job_id: int) -> tuple[Job, Submission]:
    submission = submissions.lock_of_job(session, job_id)
    if submission is None:
        raise NotFoundError(f"There is no job {job_id}.")
    job = repository.job(session, job_id)
    assert job is not None, "jobs are never deleted"
    return job, submission


def _live(
    session: Session, job: Job, submission: Submission, message: AttemptMessage, holder: Holder, now: datetime
) -> Held:
    live = job.state is JobState.LEASED and job.attempt == message.attempt == holder.attempt
    if not live or job.lease_expires_at is None or job.lease_expires_at <= now:
        raise job_tokens.stale(job.id, message.attempt)
    rescored = rescorings.of_job(session, job.id) if job.kind is JobKind.SCORING else None
    return Held(job, submission, Act(holder.account, now), rescored)


def _extend(session: Session, held: Held, lease: int, **values: int) -> None:
    until = held.act.at + timedelta(seconds=lease)
    repository.update_job(session, held.job, {"lease_expires_at": until, **values})


def _note_finish(session: Session, held: Held, message: JobFinish) -> None:
    values = {"finish_attempt": held.job.attempt, "finish_digest": _digest(message)}
    repository.update_job(session, held.job, values)


def _end(session: Session, held: Held, state: JobState = JobState.DONE) -> None:
    values = {"state": state, "ended_at": held.act.at, "lease_expires_at": None}
    repository.update_job(session, held.job, values)


def _end_invalid(session: Session, held: Held, report: EntryInvalid) -> None:
    message = printable(report.message, keep="\n")
    if held.rescored is not None:
        # It was valid under its own suite, and keeps that score; a person decides what this means.
        _end(session, held, JobState.DEAD)
        held.rescored.failure = f"{report.reason.value}: {message}"
        detail = {"rescoring": held.rescored.rescoring_id, "reason": report.reason.value, "attempt": held.job.attempt}
        events.append(session, held.submission.id, held.act, "rescoring_failed", detail=detail)
        return
    _end(session, held)
    values = {"rejection_reason": report.reason, "rejection_message": message}
    detail = {"reason": report.reason.value, "message": message, "attempt": held.job.attempt}
    lifecycle.move(session, held.submission, Processing.INVALID, held.act, values=values, detail=detail)


def _end_intake(session: Session, held: Held, report: IntakeVerified) -> None:
    manifest = report.manifest
    if held.job.kind is not JobKind.INTAKE:
        raise ConflictError(f"Job {held.job.id} is a scoring job; it cannot end 'verified'.")
    _check_manifest(manifest, held.submission)
    _end(session, held)
    for copy in report.near_copies:
        _note_near_copy(session, held, copy)
    evaluation = Evaluation(
        submission_id=held.submission.id,
        suite=held.submission.suite,
        suite_digest=held.submission.suite_digest,
        created_at=held.act.at,
    )
    session.add(evaluation)
    session.flush()
    values = {
        "manifest": manifest.model_dump_json(),
        "subset_samples": manifest.subset_samples,
        "subset_unique": manifest.subset_unique,
    }
    detail: dict[str, Any] = {"manifest_sha256": _digest(manifest), "attempt": held.job.attempt}
    # Of a hidden task nothing is told: entry by entry, it would show which images are in its set.
    shown = {task.id for task in _suite(session, held.submission, None).tasks if not task.hidden}
    if report.overlaps:
        shares = {overlap.task: round(overlap.share, 6) for overlap in report.overlaps if overlap.task in shown}
        detail["test_image_shares"] = shares
    lifecycle.move(session, held.submission, Processing.QUEUED, held.act, values=values, detail=detail)
    queue.enqueue(session, held.submission, JobKind.SCORING, held.act.at, evaluation_id=evaluation.id)


def _note_near_copy(session: Session, held: Held, copy: NearCopy) -> None:
    """Who may not know of the other entry shall not find it by trying out names against the event's hash: the salt."""
    detail = {
        "attempt": held.job.attempt,
        "other": copy.submission,
        "distance": copy.distance,
        "salt": secrets.token_hex(16),
    }
    events.append(session, held.submission.id, held.act, NEAR_COPY, detail=detail)


def _entered_under(session: Session, held: Held, evaluation_id: int) -> bool:
    """Whether the evaluation is by the suite that the entry was made for: its own report speaks of no other."""
    return repository.evaluation(session, evaluation_id).suite_digest == held.submission.suite_digest


def _end_scoring(session: Session, held: Held) -> None:
    """Aggregate, publish and say ``scored``, all in this transaction; a re-scoring is aggregated alone."""
    if held.job.evaluation_id is None:
        raise ConflictError(f"Job {held.job.id} is an intake job; it cannot end 'scored'.")
    suite = _suite(session, held.submission, held.rescored)
    accepted = {outcome.task: outcome for outcome in repository.accepted(session, held.job.evaluation_id)}
    missing = [task.id for task in suite.tasks if task.id not in accepted]
    if missing:
        raise ConflictError(f"Tasks without a result: {', '.join(missing)}.", hint="Report each task, then finish.")
    counted = {task: accepted[task] for task in suite.primary_aggregate.tasks}
    total = uncertain_aggregate(
        suite,
        suite.primary_aggregate,
        {task: row.value for task, row in counted.items()},
        {task: None if row.replicates is None else results.unpack(row.replicates) for task, row in counted.items()},
    )
    evaluation = repository.evaluation(session, held.job.evaluation_id)
    evaluation.score = total.found.value
    if total.spread is not None:
        evaluation.score_low, evaluation.score_high = total.spread.low, total.spread.high
        evaluation.replicates = results.pack(total.spread.replicates)
    if held.rescored is not None:
        session.flush()
        _end(session, held)
        detail: dict[str, Any] = {
            "suite": suite.reference,
            "rescoring": held.rescored.rescoring_id,
            "attempt": held.job.attempt,
        }
        events.append(session, held.submission.id, held.act, "evaluated", detail=detail)
        return
    evaluation.published_at = held.act.at
    session.flush()
    _end(session, held)
    values = {"trust": Trust.RE_EVALUATED, "failure": None}
    detail = {"suite": suite.reference, "attempt": held.job.attempt}
    lifecycle.move(session, held.submission, Processing.SCORED, held.act, values=values, detail=detail)


def _check_manifest(manifest: SubmissionManifest, submission: Submission) -> None:
    expected = {
        "submission_id": submission.id,
        "nonce": submission.nonce,
        "competition": submission.competition,
        "track": submission.track,
        "scale": submission.scale,
        "recipe_digest": submission.recipe_digest,
        "suite_digest": submission.suite_digest,
    }
    for field, value in expected.items():
        if getattr(manifest, field) != value:
            raise ValidationFailedError(f"report.manifest.{field}: not that of submission {submission.id}.")
    if max(manifest.subset_samples or 0, manifest.subset_unique or 0) > _MAX_COUNT:
        raise ValidationFailedError("report.manifest.subset_samples: more than any pool holds.")


def _outcome(job: Job, weighed: Weighed, now: datetime) -> TaskOutcome:
    result, interval = weighed.message.result, weighed.message.result.interval
    return TaskOutcome(
        evaluation_id=job.evaluation_id,
        task=result.task,
        job_id=job.id,
        attempt=job.attempt,
        digest=weighed.digest,
        value=result.value,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        confidence=None if interval is None else interval.confidence,
        method=None if interval is None else interval.method,
        metric=result.metric,
        metrics=result.metrics,
        samples=result.samples,
        seconds=result.seconds,
        device=result.device,
        device_seconds=result.device_seconds,
        outcomes=[part.model_dump(mode="json") for part in result.outcomes],
        replicates=None if weighed.replicates is None else results.pack(weighed.replicates),
        accepted_at=now,
    )


def _suite(session: Session, submission: Submission, rescored: RescoredEntry | None) -> Suite:
    if rescored is not None:
        return taking_over.rules_of(session, rescored).suite
    return competitions.document(session, submission.competition, submission.competition_version).suite


def _digest(record: TaskResult | JobFinish | SubmissionManifest) -> str:
    return hashlib.sha256(record.model_dump_json().encode()).hexdigest()


def _no_scoring_job(job_id: int) -> NotFoundError:
    return NotFoundError(f"There is no scoring job {job_id}.", hint="Results belong to scoring jobs.")
