"""A result of an older suite as the result of a newer one that measures the same. Reads only.

The value, its interval and the outcomes stay as they were accepted. The bootstrap replicates are made anew, since each
suite has its own common random numbers: only then can the entry be compared with others under the newer suite.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from competition.errors import ValidationFailedError
from competition.records.evaluation import Interval, Outcomes, TaskResult
from competition.rules import Competition, Suite
from leaderboard.competitions import documents
from leaderboard.competitions import service as competitions
from leaderboard.models import RescoredEntry, Rescoring, TaskOutcome
from leaderboard.rescoring import planning
from leaderboard.rescoring import repository as rescorings
from leaderboard.scoring import repository


def rules_of(session: Session, entry: RescoredEntry) -> Competition:
    """The competition's version under which a re-scoring evaluates the entry."""
    return documents.parse(session.get_one(Rescoring, entry.rescoring_id).document)


def tasks(session: Session, entry: RescoredEntry, suite: Suite) -> tuple[str, ...]:
    """The tasks of the newer suite that are not to be evaluated."""
    rescoring = session.get_one(Rescoring, entry.rescoring_id)
    before = repository.evaluation(session, entry.before_id)
    old = competitions.under_suite(session, rescoring.competition, before.suite_digest).suite
    done = dict.fromkeys(repository.finished_tasks(session, before.id))
    return planning.taken_over(old, suite, done, fresh=rescoring.fresh)


def result(session: Session, entry: RescoredEntry, suite: Suite, task: str) -> tuple[TaskResult, str, str]:
    """The older result, its digest, and the reference of the suite that it was accepted under.

    Raises ``ValidationFailedError`` for a task that must be evaluated.
    """
    row = rescorings.outcome_whole(session, entry.before_id, task)
    if row is None or task not in tasks(session, entry, suite):
        raise ValidationFailedError(
            f"task: {task!r} has no older result that is its own, too.", hint="Evaluate it, and hand the result in."
        )
    return _record(row), row.digest, repository.evaluation(session, entry.before_id).suite


def _record(row: TaskOutcome) -> TaskResult:
    interval = None
    if row.low is not None:
        fields = {"low": row.low, "high": row.high, "confidence": row.confidence, "method": row.method}
        interval = Interval.model_validate(fields)
    return TaskResult(
        task=row.task,
        metric=row.metric,
        value=row.value,
        interval=interval,
        metrics=row.metrics,
        samples=row.samples,
        seconds=row.seconds,
        outcomes=tuple(Outcomes.model_validate(part) for part in row.outcomes),
    )
