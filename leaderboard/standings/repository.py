"""Queries about standings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session, joinedload, undefer

from competition.records.lifecycle import Eligibility, Processing, Visibility
from leaderboard.models import Evaluation, Submission, TaskOutcome

SHOWN = (Eligibility.ELIGIBLE, Eligibility.BASELINE)


@dataclass(frozen=True)
class Board:
    """What makes entries comparable: the same competition, track and scale, under one suite and one recipe."""

    competition: str
    track: str
    scale: str
    suite_digest: str
    recipe_digest: str


def in_table(board: Board) -> ColumnElement[bool]:
    """The condition on a public submission of a board that puts it into the table, ranked or in place."""
    published = select(Evaluation.id).where(
        Evaluation.submission_id == Submission.id,
        Evaluation.suite_digest == board.suite_digest,
        Evaluation.published_at.is_not(None),
    )
    return and_(
        Submission.processing == Processing.SCORED,
        Submission.recipe_digest == board.recipe_digest,
        Submission.eligibility.in_(SHOWN),
        published.correlate(Submission).exists(),
    )


def scored(session: Session, board: Board) -> Sequence[tuple[Submission, Evaluation]]:
    """The public, scored entries of a board that are ranked or stand in place, with their published evaluations."""
    query = (
        select(Submission, Evaluation)
        .join(Evaluation, Evaluation.submission_id == Submission.id)
        .options(joinedload(Submission.account), undefer(Evaluation.replicates))
        .where(
            Submission.competition == board.competition,
            Submission.track == board.track,
            Submission.scale == board.scale,
            Submission.visibility == Visibility.PUBLIC,
            in_table(board),
            Evaluation.suite_digest == board.suite_digest,
        )
    )
    return [(submission, evaluation) for submission, evaluation in session.execute(query)]


def outcomes(session: Session, board: Board) -> Mapping[int, dict[str, TaskOutcome]]:
    """The results of every published evaluation of a board, by evaluation and task."""
    query = (
        select(TaskOutcome)
        .join(Evaluation, Evaluation.id == TaskOutcome.evaluation_id)
        .join(Submission, Submission.id == Evaluation.submission_id)
        .where(
            Submission.competition == board.competition,
            Submission.track == board.track,
            Submission.scale == board.scale,
            Evaluation.suite_digest == board.suite_digest,
            Evaluation.published_at.is_not(None),
        )
    )
    found: dict[int, dict[str, TaskOutcome]] = {}
    for outcome in session.scalars(query):
        found.setdefault(outcome.evaluation_id, {})[outcome.task] = outcome
    return found
