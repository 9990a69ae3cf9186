"""The standings of one track and scale under the newest rules of their competition."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from competition.errors import NotFoundError, UsageError
from competition.records.evaluation import Interval
from competition.records.lifecycle import Eligibility
from competition.records.standings import StandingsRow, StandingsTask, StandingsView
from competition.records.submission import Score
from competition.rules import Competition, Scale, Task, find_scale, find_track
from leaderboard.accounts.viewer import ANONYMOUS, Viewer
from leaderboard.clock import Clock, utc_now
from leaderboard.competitions import service as competitions
from leaderboard.models import Evaluation, Submission, TaskOutcome
from leaderboard.standings import ranking, repository
from leaderboard.standings.ranking import Entrant, Place
from leaderboard.standings.repository import Board
from leaderboard.submissions.views import score_of
from leaderboard.visibility import may_see_aggregate, open_tasks


def view(
    session: Session,
    competition: str,
    track: str,
    scale: str,
    *,
    viewer: Viewer = ANONYMOUS,
    clock: Clock = utc_now,
) -> StandingsView:
    """The standings (raises ``NotFoundError`` naming the competitions, tracks or scales there are)."""
    rules = competitions.get(session, competition, clock=clock).document
    size = _scale(rules, track, scale)
    board = Board(competition, track, scale, rules.suite.digest, rules.training_digest(size))
    tasks = open_tasks(rules.suite, viewer)
    return StandingsView(
        competition=rules.id,
        competition_version=rules.version,
        track=track,
        scale=scale,
        suite=rules.suite.reference,
        suite_digest=board.suite_digest,
        recipe_digest=board.recipe_digest,
        aggregate=rules.suite.primary_aggregate.title,
        tasks=[_column(task) for task in tasks],
        rows=_rows(session, board, tasks, scored=may_see_aggregate(rules.suite, rules.suite.primary_aggregate, viewer)),
        generated_at=clock(),
    )


def _scale(rules: Competition, track: str, scale: str) -> Scale:
    try:
        find_track(rules, track)
        return find_scale(rules, scale)
    except UsageError as error:
        raise NotFoundError(error.message, hint=error.hint) from error


def _rows(session: Session, board: Board, tasks: list[Task], *, scored: bool) -> list[StandingsRow]:
    entries = {row.id: (row, evaluation) for row, evaluation in repository.scored(session, board)}
    outcomes = repository.outcomes(session, board)
    entrants = [
        Entrant(
            key=row.id,
            score=evaluation.score if scored else None,
            replicates=evaluation.replicates,
            submitted_at=_submitted(row),
            competes=row.eligibility is Eligibility.ELIGIBLE,
        )
        for row, evaluation in entries.values()
    ]
    rows = []
    for place in ranking.rank(entrants):
        row, evaluation = entries[place.key]
        score = _score(evaluation) if scored else None
        rows.append(_row(place, row, score, {task.id: outcomes.get(evaluation.id, {}).get(task.id) for task in tasks}))
    return rows


def _row(
    place: Place, row: Submission, score: Score | None, outcomes: Mapping[str, TaskOutcome | None]
) -> StandingsRow:
    return StandingsRow(
        rank=place.rank,
        rank_low=place.rank_low,
        rank_high=place.rank_high,
        submission_id=row.id,
        method_name=row.method_name,
        author=row.author,
        account=row.account.name,
        score=score,
        tasks={task: None if outcome is None else score_of(outcome) for task, outcome in outcomes.items()},
        subset_samples=row.subset_samples,
        subset_unique=row.subset_unique,
        eligibility=row.eligibility,
        trust=row.trust,
        submitted_at=_submitted(row),
    )


def _submitted(row: Submission) -> datetime:
    return row.received_at or row.created_at


def _score(evaluation: Evaluation) -> Score | None:
    if evaluation.score is None or evaluation.score_low is None or evaluation.score_high is None:
        return None
    interval = Interval(low=evaluation.score_low, high=evaluation.score_high, method="bootstrap")
    return Score(value=evaluation.score, interval=interval)


def _column(task: Task) -> StandingsTask:
    return StandingsTask(
        id=task.id,
        title=task.title,
        metric=task.metric,
        samples=task.samples,
        chance=task.chance,
        hidden=task.hidden,
    )
