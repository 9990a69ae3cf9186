"""Submissions as the API and the pages show them: what this viewer may see, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from competition.records.evaluation import Interval
from competition.records.lifecycle import Visibility
from competition.records.submission import Rejection, Score, SubmissionView, TaskScore
from competition.rules import Suite, Task
from leaderboard.accounts.viewer import Viewer
from leaderboard.competitions import service as competitions
from leaderboard.models import Evaluation, Submission, TaskOutcome
from leaderboard.submissions import repository
from leaderboard.submissions.notices import Findings, withdrawals
from leaderboard.visibility import is_tombstone, open_tasks


def show(session: Session, submissions: Sequence[Submission], viewer: Viewer) -> list[SubmissionView]:
    """The views of submissions whose accounts are loaded; a few queries however many there are of one competition.

    Results are those of the newest published evaluation, or of the first one while it is being made.
    """
    evaluations = repository.current_evaluations(session, submissions)
    suites = _suites(session, submissions, evaluations)
    results = repository.results(session, evaluations)
    whole = [submission for submission in submissions if not is_tombstone(submission, viewer)]
    findings = Findings(session, whole, viewer)
    views = [
        _view(submission, suites[submission.id], results.get(submission.id, []), findings, viewer)
        if submission in whole
        else _tombstone(submission)
        for submission in submissions
    ]
    withdrawn = [submission for submission in submissions if submission.visibility is Visibility.WITHDRAWN]
    if not withdrawn:
        return views
    found = withdrawals(session, withdrawn, with_reason={submission.id for submission in whole})
    return [view.model_copy(update={"withdrawal": found.get(view.id)}) for view in views]


def _suites(
    session: Session, submissions: Sequence[Submission], evaluations: Mapping[str, Evaluation]
) -> dict[str, Suite]:
    """The suite of each submission's evaluation; of those without one, the suite that it will be made under."""
    known: dict[tuple[str, int | str], Suite] = {}
    found = {}
    for submission in submissions:
        evaluation = evaluations.get(submission.id)
        if evaluation is None or evaluation.suite_digest == submission.suite_digest:
            entered = (submission.competition, submission.competition_version)
            if entered not in known:
                known[entered] = competitions.document(session, *entered).suite
            found[submission.id] = known[entered]
        else:
            later = (submission.competition, evaluation.suite_digest)
            if later not in known:
                known[later] = competitions.under_suite(session, *later).suite
            found[submission.id] = known[later]
    return found


def score_of(outcome: TaskOutcome) -> Score:
    """A task's value with its interval, where one is known."""
    if outcome.low is None:
        return Score(value=outcome.value, interval=None)
    interval = {"low": outcome.low, "high": outcome.high, "confidence": outcome.confidence, "method": outcome.method}
    return Score(value=outcome.value, interval=Interval.model_validate(interval))


def _view(
    row: Submission,
    suite: Suite,
    results: Sequence[TaskOutcome],
    findings: Findings,
    viewer: Viewer,
) -> SubmissionView:
    tasks = open_tasks(suite, viewer)
    outcomes = {outcome.task: outcome for outcome in results}
    return SubmissionView(
        id=row.id,
        competition=row.competition,
        track=row.track,
        scale=row.scale,
        method_name=row.method_name,
        author=row.author,
        description=row.description,
        account=row.account.name,
        hub_endpoint=row.hub_endpoint,
        repo=row.repo,
        revision=row.revision,
        path=row.path,
        processing=row.processing,
        stage=row.stage,
        visibility=row.visibility,
        eligibility=row.eligibility,
        trust=row.trust,
        rejection=_rejection(row),
        failure=row.failure,
        subset_samples=row.subset_samples,
        subset_unique=row.subset_unique,
        suite=suite.reference,
        tasks_total=len(tasks),
        results=[task_score(task, outcomes[task.id]) for task in tasks if task.id in outcomes],
        notices=findings.of(row, tasks, outcomes),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _tombstone(row: Submission) -> SubmissionView:
    """That this account had an entry here and took it back, and nothing else of it."""
    return SubmissionView(
        id=row.id,
        competition=row.competition,
        track=row.track,
        scale=row.scale,
        method_name="",
        author="",
        description="",
        account=row.account.name,
        hub_endpoint="",
        repo="",
        revision=None,
        path=None,
        processing=row.processing,
        stage=None,
        visibility=row.visibility,
        eligibility=row.eligibility,
        trust=row.trust,
        rejection=None,
        failure=None,
        subset_samples=None,
        subset_unique=None,
        suite=row.suite,
        tasks_total=0,
        results=[],
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _rejection(row: Submission) -> Rejection | None:
    if row.rejection_reason is None:
        return None
    reason = row.rejection_reason
    return Rejection(reason=reason, message=row.rejection_message or "", hint=reason.hint)


def task_score(task: Task, outcome: TaskOutcome) -> TaskScore:
    """The result of a task as the API shows it."""
    return TaskScore(
        task=task.id,
        title=task.title,
        metric=outcome.metric,
        score=score_of(outcome),
        metrics=outcome.metrics,
        samples=outcome.samples,
        seconds=outcome.seconds,
    )
