"""The standings table as the page shows it: groups that the data cannot separate, best of each column, shared axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from competition.records.lifecycle import Eligibility
from competition.records.standings import StandingsRow, StandingsTask, StandingsView
from competition.records.submission import Score
from leaderboard.web.charts import Axis, axis_for

# With more columns than this, a small plot in every cell is noise and bytes.
_MOST_PLOTTED_TASKS = 8


@dataclass(frozen=True)
class Group:
    """Rows in order of rank whose rank ranges all overlap each other, or of all of which no range is known."""

    rows: tuple[StandingsRow, ...]

    @property
    def known(self) -> bool:
        """Whether the rows have rank ranges."""
        return self.rows[0].rank_low is not None

    @property
    def tied(self) -> bool:
        """More than one entry with a range: their order is not settled."""
        return self.known and len(self.rows) > 1


@dataclass(frozen=True)
class Table:
    """Everything that the template of the standings table needs. ``leader`` is the first's score with an interval."""

    view: StandingsView
    groups: tuple[Group, ...]
    unranked: tuple[StandingsRow, ...]
    axis: Axis
    leader: Score | None
    best_score: float | None
    best_by_task: dict[str, float]
    plot_tasks: bool

    @property
    def rows(self) -> tuple[StandingsRow, ...]:
        """All rows, ranked ones first."""
        return tuple(row for group in self.groups for row in group.rows) + self.unranked

    def is_best(self, row: StandingsRow, task: StandingsTask | None = None) -> bool:
        """Whether the row holds the best value of that column (None: the score's column)."""
        score = row.score if task is None else row.tasks.get(task.id)
        best = self.best_score if task is None else self.best_by_task.get(task.id)
        return score is not None and score.value == best and _counts(row)


def _counts(row: StandingsRow) -> bool:
    return row.eligibility not in {Eligibility.DISQUALIFIED, Eligibility.FLAGGED}


def group_by_rank_range(rows: Sequence[StandingsRow]) -> tuple[Group, ...]:
    """Split ranked rows, best first, into runs in which every two rank ranges overlap.

    A run ends where the next row's best possible rank is worse than the worst possible rank of somebody in the run.
    Rows without a range make runs of their own.
    """
    groups: list[Group] = []
    run: list[StandingsRow] = []
    for row in rows:
        if run and not _joins(row, run):
            groups.append(Group(tuple(run)))
            run = []
        run.append(row)
    if run:
        groups.append(Group(tuple(run)))
    return tuple(groups)


def _joins(row: StandingsRow, run: Sequence[StandingsRow]) -> bool:
    highs = [other.rank_high for other in run if other.rank_high is not None]
    if row.rank_low is None:
        return not highs
    return len(highs) == len(run) and row.rank_low <= min(highs)


def build_table(view: StandingsView) -> Table:
    """Arrange the rows of a standings view for showing."""
    ranked = sorted((row for row in view.rows if row.rank is not None), key=lambda row: row.rank or 0)
    unranked = tuple(row for row in view.rows if row.rank is None)
    scores = [row.score for row in view.rows if row.score is not None]
    counting = [row for row in view.rows if _counts(row)]
    best_by_task = {}
    for task in view.tasks:
        values = [score.value for row in counting if (score := row.tasks.get(task.id)) is not None]
        if values:
            best_by_task[task.id] = _best(values, less_is_better=task.less_is_better)
    totals = [row.score.value for row in counting if row.score is not None]
    return Table(
        view=view,
        groups=group_by_rank_range(ranked),
        unranked=unranked,
        axis=axis_for(scores, less_is_better=view.less_is_better),
        leader=ranked[0].score if ranked and ranked[0].score and ranked[0].score.interval else None,
        best_score=_best(totals, less_is_better=view.less_is_better) if totals else None,
        best_by_task=best_by_task,
        plot_tasks=len(view.tasks) <= _MOST_PLOTTED_TASKS,
    )


def _best(values: Sequence[float], *, less_is_better: bool) -> float:
    return min(values) if less_is_better else max(values)


def neighbours(rows: Sequence[StandingsRow], submission_id: str, around: int = 3) -> list[StandingsRow]:
    """The entry's row with up to ``around`` scored rows above and below it; empty when it has no score."""
    scored = [row for row in rows if row.score is not None]
    places = [place for place, row in enumerate(scored) if row.submission_id == submission_id]
    if not places:
        return []
    start = max(0, places[0] - around)
    return scored[start : places[0] + around + 1]
