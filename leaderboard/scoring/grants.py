"""What a scorer is told of the work: a leased job, and the files that it must keep."""

from __future__ import annotations

from sqlalchemy.orm import Session

from competition.records.manifest import SubmissionManifest
from competition.records.scoring import EntryFiles, EntryFilesPage, JobGrant, RescoringOrder
from leaderboard.models import Job, RescoredEntry, Submission
from leaderboard.rescoring import repository as rescorings
from leaderboard.scoring import repository, taking_over
from leaderboard.scoring.queue import Patience


def grant(session: Session, job: Job, submission: Submission, token: str, patience: Patience) -> JobGrant:
    """A leased job; ``token`` is that of its attempt."""
    scoring = job.evaluation_id is not None
    manifest = SubmissionManifest.model_validate_json(submission.manifest) if scoring and submission.manifest else None
    finished = repository.finished_tasks(session, job.evaluation_id) if job.evaluation_id is not None else []
    fields = ("nonce", "competition", "competition_digest", "track", "scale", "recipe_digest", "suite", "suite_digest")
    copied = {name: getattr(submission, name) for name in (*fields, "hub_endpoint", "repo", "revision", "path")}
    return JobGrant(
        job_id=job.id,
        kind=job.kind,
        attempt=job.attempt,
        token=token,
        lease_seconds=patience.lease,
        submission_id=submission.id,
        manifest=manifest,
        finished_tasks=tuple(finished),
        rescoring=_order(session, rescorings.of_job(session, job.id)),
        **copied,
    )


def _order(session: Session, rescored: RescoredEntry | None) -> RescoringOrder | None:
    if rescored is None:
        return None
    rules = taking_over.rules_of(session, rescored)
    return RescoringOrder(
        competition_version=rules.version,
        competition_digest=rules.digest,
        suite=rules.suite.reference,
        suite_digest=rules.suite.digest,
        taken_over=taking_over.tasks(session, rescored, rules.suite),
    )


def entry_files(session: Session, after: str | None, limit: int) -> EntryFilesPage:
    """A page of which files submissions consist of, by id, beginning behind ``after``."""
    rows = repository.manifests(session, after, limit + 1)
    items = [
        EntryFiles(
            submission_id=submission_id,
            sha256=tuple(file.sha256 for file in SubmissionManifest.model_validate_json(manifest).files)
            if manifest is not None
            else (),
        )
        for submission_id, manifest in rows[:limit]
    ]
    return EntryFilesPage(items=tuple(items), next_after=items[-1].submission_id if len(rows) > limit else None)
