"""The evaluations of one submission side by side, and the note of somebody who evaluated it again."""

from __future__ import annotations

from sqlalchemy.orm import Session

from competition.errors import ConflictError, NotFoundError
from competition.records.rescoring import EvaluationView, ReplayNote
from competition.rules import Competition
from leaderboard.accounts.viewer import Act, Viewer
from leaderboard.competitions import service as competitions
from leaderboard.events import service as events
from leaderboard.models import Evaluation, Submission, TaskOutcome
from leaderboard.rescoring import repository
from leaderboard.standings.service import own_score
from leaderboard.submissions import repository as submissions
from leaderboard.submissions.views import task_score
from leaderboard.visibility import is_tombstone, may_see_aggregate, open_tasks


def side_by_side(session: Session, submission_id: str, viewer: Viewer) -> list[EvaluationView]:
    """Every published evaluation, the oldest first (raises ``NotFoundError`` when the viewer may not know of it)."""
    submission = submissions.find(session, submission_id, viewer)
    if submission is None:
        raise NotFoundError(f"There is no submission {submission_id!r}.", hint="Check the id; drafts are private.")
    if is_tombstone(submission, viewer):
        return []
    found = repository.evaluations_of(session, submission_id)
    outcomes = repository.outcomes(session, [evaluation.id for evaluation in found])
    return [_view(session, submission, each, outcomes.get(each.id, {}), viewer) for each in found]


def note_replay(session: Session, submission_id: str, note: ReplayNote, act: Act) -> None:
    """Log that an organiser evaluated an entry again.

    Raises ``NotFoundError``, or ``ConflictError`` when it has no published evaluation under that suite.
    """
    submission = submissions.lock(session, submission_id)
    if submission is None:
        raise NotFoundError(f"There is no submission {submission_id!r}.", hint="Check the id.")
    suites = {each.suite_digest: each.suite for each in repository.evaluations_of(session, submission_id)}
    if note.suite_digest not in suites:
        raise ConflictError(f"Submission {submission_id} has no published evaluation under that suite.")
    known = competitions.under_suite(session, submission.competition, note.suite_digest).suite
    public = {task.id for task in known.tasks if task.revealed or not task.hidden}
    # The log is public: of hidden tasks it says how many differ, and not which.
    detail = {
        "suite": suites[note.suite_digest],
        "tasks": note.tasks,
        "outside_tolerance": len(note.differing),
        "differing": ", ".join(task for task in note.differing if task in public),
        "worker": note.worker,
        "code_version": note.code_version,
    }
    events.append(session, submission_id, act, "replayed", detail=detail)


def _view(
    session: Session,
    submission: Submission,
    evaluation: Evaluation,
    outcomes: dict[str, TaskOutcome],
    viewer: Viewer,
) -> EvaluationView:
    rules = rules_of(session, submission, evaluation)
    suite = rules.suite
    shown = may_see_aggregate(suite, suite.primary_aggregate, viewer)
    assert evaluation.published_at is not None
    return EvaluationView(
        suite=evaluation.suite,
        suite_digest=evaluation.suite_digest,
        competition_version=rules.version,
        competition_digest=rules.digest,
        published_at=evaluation.published_at,
        score=own_score(evaluation) if shown else None,
        results=tuple(task_score(task, outcomes[task.id]) for task in open_tasks(suite, viewer) if task.id in outcomes),
    )


def rules_of(session: Session, submission: Submission, evaluation: Evaluation) -> Competition:
    """The competition's version that a published evaluation was made under."""
    if evaluation.suite_digest == submission.suite_digest:
        return competitions.document(session, submission.competition, submission.competition_version)
    return competitions.under_suite(session, submission.competition, evaluation.suite_digest)
