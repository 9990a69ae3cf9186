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
from competition.rules import Competition, Scale, Suite, Task, find_scale, find_track
from competition.rules.aggregates import average_ranks, less_is_better
from competition.rules.suites import AverageRank
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
        less_is_better=less_is_better(rules.suite, rules.suite.primary_aggregate),
        tasks=[_column(task) for task in tasks],
        rows=_rows(session, board, rules.suite, tasks, viewer),
        generated_at=clock(),
    )


def _scale(rules: Competition, track: str, scale: str) -> Scale:
    try:
        find_track(rules, track)
        return find_scale(rules, scale)
    except UsageError as error:
        raise NotFoundError(error.message, hint=error.hint) from error


def _rows(session: Session, board: Board, suite: Suite, tasks: list[Task], viewer: Viewer) -> list[StandingsRow]:
    primary = suite.primary_aggregate
    entries = {row.id: (row, evaluation) for row, evaluation in repository.scored(session, board)}
    found = repository.outcomes(session, board)
    outcomes = {key: found.get(evaluation.id, {}) for key, (_, evaluation) in entries.items()}
    scores: Mapping[str, Score | None] = {}
    if may_see_aggregate(suite, primary, viewer):
        scores = table_scores(suite, {key: evaluation for key, (_, evaluation) in entries.items()}, outcomes)
    places = ranking.rank(
        [_entrant(row, evaluation, scores.get(row.id)) for row, evaluation in entries.values()],
        less_is_better=less_is_better(suite, primary),
    )
    return [
        _row(
            place,
            entries[place.key][0],
            scores.get(place.key),
            {task.id: outcomes[place.key].get(task.id) for task in tasks},
        )
        for place in places
    ]


def table_scores(
    suite: Suite, evaluations: Mapping[str, Evaluation], outcomes: Mapping[str, Mapping[str, TaskOutcome]]
) -> Mapping[str, Score | None]:
    """The scores by which the entries of one table are ranked, from their evaluations and results under its suite."""
    ranked_together = isinstance(suite.primary_aggregate.rule, AverageRank)
    return _average_ranks(suite, outcomes) if ranked_together else _own_scores(evaluations)


def _own_scores(evaluations: Mapping[str, Evaluation]) -> dict[str, Score | None]:
    """Scores that each entry has by itself, as they were published."""
    return {key: own_score(evaluation) for key, evaluation in evaluations.items()}


def _average_ranks(suite: Suite, outcomes: Mapping[str, Mapping[str, TaskOutcome]]) -> dict[str, Score | None]:
    """Scores among all entries of the table, baselines too, as they are now; a rank has no interval."""
    values = [{task: outcome.value for task, outcome in of_entry.items()} for of_entry in outcomes.values()]
    averages = average_ranks(suite, suite.primary_aggregate, values)
    return {
        key: None if average.value is None else Score(value=average.value, interval=None)
        for key, average in zip(outcomes, averages, strict=True)
    }


def _entrant(row: Submission, evaluation: Evaluation, score: Score | None) -> Entrant:
    return Entrant(
        key=row.id,
        score=None if score is None else score.value,
        replicates=None if score is None or score.interval is None else evaluation.replicates,
        submitted_at=_submitted(row),
        competes=row.eligibility is Eligibility.ELIGIBLE,
    )


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


def own_score(evaluation: Evaluation) -> Score | None:
    """The score that an entry has by itself; None where all entries together make it."""
    if evaluation.score is None:
        return None
    if evaluation.score_low is None or evaluation.score_high is None:
        return Score(value=evaluation.score, interval=None)
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
        less_is_better=task.less_is_better,
    )
