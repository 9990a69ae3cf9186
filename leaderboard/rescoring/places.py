"""Who stands where, and would stand where: the tables before and after the publication of a re-scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from competition.errors import UsageError
from competition.records.lifecycle import Eligibility, Visibility
from competition.rules import Competition, find_scale, find_track
from competition.rules.aggregates import less_is_better
from leaderboard.accounts.viewer import SYSTEM, Scope, Viewer
from leaderboard.models import Evaluation, JobState, Rescoring, Submission
from leaderboard.rescoring import repository
from leaderboard.standings import ranking
from leaderboard.standings.ranking import Entrant
from leaderboard.standings.repository import SHOWN
from leaderboard.standings.service import table_scores

#: Sees everything; what is shown of it to others is decided where it is shown.
EVERYTHING = Viewer(account=SYSTEM, scopes=frozenset({Scope.ADMIN}))

Member = tuple[Submission, Evaluation]


@dataclass(frozen=True)
class Place:
    """An entry's score in its table, and its rank there; None where it has none."""

    score: float | None
    rank: int | None


def members_now(session: Session, current: Competition) -> list[Member]:
    """The entries of the competition's tables as they are."""
    under = repository.published_under(session, current.id, current.suite.digest)
    return [
        (submission, under[submission.id])
        for submission, _newest in repository.scored(session, current.id)
        if submission.id in under and _in_a_table(submission, current)
    ]


def members_after(session: Session, rescoring: Rescoring, document: Competition) -> list[Member]:
    """The entries of the tables as they would be after publication: with the evaluations that are done."""
    under = dict(repository.published_under(session, document.id, document.suite.digest))
    for each in repository.entries(session, rescoring.id, EVERYTHING):
        if each.job.state is JobState.DONE:
            under[each.submission.id] = each.after
    return [
        (submission, under[submission.id])
        for submission, _newest in repository.scored(session, document.id)
        if submission.id in under and _in_a_table(submission, document)
    ]


def places(session: Session, rules: Competition, members: Sequence[Member]) -> dict[str, Place]:
    """The place of every entry in the table of its track and scale, by submission."""
    outcomes = repository.outcomes(session, [evaluation.id for _submission, evaluation in members])
    tables: dict[tuple[str, str], list[Member]] = {}
    for submission, evaluation in members:
        tables.setdefault((submission.track, submission.scale), []).append((submission, evaluation))
    found: dict[str, Place] = {}
    for table in tables.values():
        rows = {submission.id: submission for submission, _evaluation in table}
        evaluations = {submission.id: evaluation for submission, evaluation in table}
        results = {name: outcomes.get(evaluation.id, {}) for name, evaluation in evaluations.items()}
        scores = table_scores(rules.suite, evaluations, results)
        values = {name: None if score is None else score.value for name, score in scores.items()}
        # Ranks follow from the values; ranges, which are dear, are a matter of the standings.
        entrants = [
            Entrant(
                key=name,
                score=values[name],
                replicates=None,
                submitted_at=row.received_at or row.created_at,
                competes=row.eligibility is Eligibility.ELIGIBLE,
            )
            for name, row in rows.items()
        ]
        ordered = ranking.rank(entrants, less_is_better=less_is_better(rules.suite, rules.suite.primary_aggregate))
        found.update({place.key: Place(values[place.key], place.rank) for place in ordered})
    return found


def _in_a_table(submission: Submission, rules: Competition) -> bool:
    """Whether a scored entry is in a table of that version, if it has a score under its suite."""
    if submission.visibility is not Visibility.PUBLIC or submission.eligibility not in SHOWN:
        return False
    try:
        find_track(rules, submission.track)
        return rules.training_digest(find_scale(rules, submission.scale)) == submission.recipe_digest
    except UsageError:
        return False
