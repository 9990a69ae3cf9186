"""Audits of entries: what they must know, what a report must be to count, and what becomes of the entry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from competition.audit_rule import Errors, find, score_of
from competition.errors import ConflictError, NotFoundError, UsageError, ValidationFailedError
from competition.records.audit import (
    AuditComparison,
    AuditReport,
    AuditRun,
    AuditTarget,
    AuditVerdict,
    AuditView,
    sentence,
)
from competition.records.lifecycle import Processing, Trust, Visibility
from competition.records.manifest import FileRole, SubmissionManifest
from competition.rules import Competition, EntryKind, find_scale, find_track
from leaderboard.accounts.viewer import ANONYMOUS, Act, Viewer
from leaderboard.competitions import service as competitions
from leaderboard.events import service as events
from leaderboard.models import Audit, Submission
from leaderboard.scoring import repository as scoring
from leaderboard.submissions import lifecycle, repository
from leaderboard.visibility import is_tombstone, may_see_aggregate, open_tasks

# Sums in another order.
_ROUNDING = 1e-9
_COPIED = (
    *("version", "competition", "competition_digest", "track", "scale", "recipe_digest", "suite", "suite_digest"),
    *("hub_endpoint", "repo", "revision", "path", "eligibility", "trust"),
)


def target(session: Session, submission_id: str, viewer: Viewer) -> AuditTarget:
    """What an audit must know (raises ``ConflictError`` where there is nothing to audit)."""
    row = repository.find(session, submission_id, viewer)
    if row is None:
        raise _not_found(submission_id)
    return _target(session, row)


def record(session: Session, submission_id: str, report: AuditReport, viewer: Viewer, now: datetime) -> AuditView:
    """Store a report, and do what its verdict asks for. Repeating it changes nothing.

    Raises:
        ConflictError: the entry has changed since the audit began, or cannot be audited.
        ValidationFailedError: the report is of something else, or its numbers do not give its verdict.
    """
    row = repository.lock(session, submission_id)
    if row is None:
        raise _not_found(submission_id)
    rules = competitions.document(session, row.competition, row.competition_version)
    # Of what was found: an audit that is run again after its answer was lost finds the same, in a later version.
    digest = hashlib.sha256(report.model_dump_json(exclude={"version"}).encode()).hexdigest()
    known = session.scalar(select(Audit).where(Audit.submission_id == row.id, Audit.digest == digest))
    if known is not None:
        return _view(known, row, rules, viewer)
    entry = _target(session, row)
    if report.version != entry.version:
        raise ConflictError(
            f"Submission {row.id} has changed since this audit began.", hint="Run the audit again: its trainings stay."
        )
    _check(report, entry, rules)
    found = Audit(submission_id=row.id, digest=digest, report=report.model_dump_json(), recorded_at=now)
    session.add(found)
    act = Act(viewer.account or "", now)
    public = _view(found, row, rules, ANONYMOUS)
    events.append(session, row.id, act, "audit", change=(None, report.verdict.value), detail=_detail(report, public))
    own_scale = report.scale == row.scale
    flag = public.sentence if own_scale and report.verdict is AuditVerdict.EXCEEDS else None
    lifecycle.assess(session, row, act, trust=_trust(row.trust, report.verdict), flag=flag)
    return _view(found, row, rules, viewer)


def views(session: Session, submission_id: str, viewer: Viewer = ANONYMOUS) -> list[AuditView]:
    """The audits of a submission, oldest first, as this viewer may see them; of a withdrawn one nothing is shown."""
    row = repository.find(session, submission_id, viewer)
    if row is None:
        raise _not_found(submission_id)
    if is_tombstone(row, viewer):
        return []
    rules = competitions.document(session, row.competition, row.competition_version)
    rows = session.scalars(select(Audit).where(Audit.submission_id == row.id).order_by(Audit.id))
    return [_view(audit, row, rules, viewer) for audit in rows]


def _trust(before: Trust, verdict: AuditVerdict) -> Trust:
    """Only the entry's own scale confirms or refutes its training; verdicts of other scales are other ones."""
    if verdict is AuditVerdict.CONFIRMED:
        return Trust.RE_TRAINED
    return Trust.RE_EVALUATED if verdict is AuditVerdict.EXCEEDS else before


def _target(session: Session, row: Submission) -> AuditTarget:
    rules = competitions.document(session, row.competition, row.competition_version)
    if row.processing is not Processing.SCORED or row.visibility is Visibility.WITHDRAWN:
        state = "withdrawn" if row.visibility is Visibility.WITHDRAWN else row.processing.value
        raise ConflictError(f"Submission {row.id} is {state}.", hint="Only scored entries can be audited.")
    if find_track(rules, row.track).entry is not EntryKind.MODEL or row.manifest is None:
        raise ConflictError(f"Submission {row.id} has no subset that could be trained on again.")
    # Under the suite that the entry was made for: under others it may have been re-scored since.
    evaluation = scoring.evaluation_under(session, row.id, row.suite_digest)
    assert evaluation is not None, "a scored entry has been evaluated"
    values = {outcome.task: outcome.value for outcome in repository.results(session, {row.id: evaluation})[row.id]}
    return AuditTarget(
        submission_id=row.id,
        manifest=SubmissionManifest.model_validate_json(row.manifest),
        score=score_of(rules.suite, values),
        tasks=values,
        **{name: getattr(row, name) for name in _COPIED},
    )


def _check(report: AuditReport, entry: AuditTarget, rules: Competition) -> None:
    try:
        scale = find_scale(rules, report.scale)
    except UsageError as error:
        raise ValidationFailedError(f"report.scale: {error.message}", hint=error.hint) from error
    expected = {
        "submission_id": entry.submission_id,
        "recipe_digest": rules.training_digest(scale),
        "suite_digest": entry.suite_digest,
        "subset_sha256": entry.manifest.only(FileRole.SUBSET).sha256,
        "model_sha256": entry.manifest.only(FileRole.MODEL).sha256,
    }
    for field, value in expected.items():
        if getattr(report, field) != value:
            raise ValidationFailedError(f"report.{field}: not that of submission {entry.submission_id}.")
    errors = Errors(report.score.evaluation_error, {task: one.evaluation_error for task, one in report.tasks.items()})
    own = entry.tasks if report.scale == entry.scale else None
    found = find(rules.suite, report.runs, own, errors, report.bar, report.known)
    for run in report.runs:
        if run.score is None or abs(run.score - score_of(rules.suite, run.tasks)) > _ROUNDING * max(1, abs(run.score)):
            raise ValidationFailedError(f"report.runs: the score of seed {run.seed} is not that of its tasks.")
    pairs = [(report.score, found.score), *((one, found.tasks.get(task)) for task, one in report.tasks.items())]
    same = (report.verdict, report.seeds_needed, report.tasks.keys()) == (
        found.verdict, found.seeds_needed, found.tasks.keys()
    )  # fmt: skip
    if not same or not all(_close(ours, theirs) for theirs, ours in pairs):
        raise ValidationFailedError(
            f"report.verdict: the numbers give {found.verdict.value}, a gain of {found.score.gain:.6g} and a margin of "
            f"{found.score.margin:.6g}.",
            hint="Do scorer and leaderboard run the same version of DataCup?",
        )


def _close(ours: AuditComparison | None, theirs: AuditComparison) -> bool:
    if ours is None:
        return False
    pairs = zip(ours.model_dump().values(), theirs.model_dump().values(), strict=True)
    return all(abs(one - other) <= _ROUNDING * max(1.0, abs(one)) for one, other in pairs)


def _view(audit: Audit, row: Submission, rules: Competition, viewer: Viewer) -> AuditView:
    report = AuditReport.model_validate_json(audit.report)
    shown = may_see_aggregate(rules.suite, rules.suite.primary_aggregate, viewer)
    visible = {task.id for task in open_tasks(rules.suite, viewer)}
    return AuditView(
        report_sha256=audit.digest,
        recorded_at=audit.recorded_at,
        scale=report.scale,
        own_scale=report.scale == row.scale,
        verdict=report.verdict,
        sentence=sentence(report, shown=shown),
        bar=report.bar,
        score=report.score if shown else None,
        tasks=_of(report.tasks, visible),
        runs=[_open_run(run, visible, shown=shown) for run in report.runs],
        missing=report.missing,
        seeds_needed=report.seeds_needed,
    )


def _of(tasks: Mapping[str, Any], visible: set[str]) -> dict[str, Any]:
    return {task: value for task, value in tasks.items() if task in visible}


def _open_run(run: AuditRun, visible: set[str], *, shown: bool) -> AuditRun:
    return run.model_copy(update={"score": run.score if shown else None, "tasks": _of(run.tasks, visible)})


def _detail(report: AuditReport, public: AuditView) -> dict[str, Any]:
    """Of the event. The log is public: it has the numbers that everybody may see, and the digest of all others."""
    return {
        "reason": public.sentence,
        "scale": report.scale,
        "report_sha256": public.report_sha256,
        "recipe_digest": report.recipe_digest,
        "code_version": report.code_version,
        "bar": report.bar.model_dump(mode="json"),
        "score": None if public.score is None else public.score.model_dump(mode="json"),
        "tasks": {task: one.model_dump(mode="json") for task, one in public.tasks.items()},
        "runs": [run.model_dump(mode="json") for run in public.runs],
    }


def _not_found(submission_id: str) -> NotFoundError:
    return NotFoundError(f"There is no submission {submission_id!r}.", hint="Check the id; drafts are private.")
