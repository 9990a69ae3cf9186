"""Grouping, best values and the shared axis, against every arrangement that Hypothesis finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from competition.records.evaluation import Interval
from competition.records.lifecycle import Eligibility
from leaderboard.web import charts
from leaderboard.web.table import build_table, group_by_rank_range, neighbours
from tests.leaderboard.web import records


@st.composite
def ranked_rows(draw):
    """Rows in order of rank, each with any rank range that holds its rank."""
    number = draw(st.integers(0, 12))
    rows = []
    for rank in range(1, number + 1):
        low, high = draw(st.integers(1, rank)), draw(st.integers(rank, number))
        rows.append(records.row(rank, (0.5,) * 4, (rank, low, high)))
    return rows


@given(ranked_rows())
def test_every_two_rank_ranges_of_a_group_overlap_and_no_row_is_lost(rows):
    groups = group_by_rank_range(rows)
    assert [row for group in groups for row in group.rows] == rows
    for group in groups:
        assert max(row.rank_low for row in group.rows) <= min(row.rank_high for row in group.rows)


def test_clearly_separated_rows_stand_alone():
    rows = [records.row(rank, (0.5,) * 4, (rank, rank, rank)) for rank in (1, 2, 3)]
    assert [group.tied for group in group_by_rank_range(rows)] == [False, False, False]


def test_the_best_value_of_a_column_is_never_that_of_a_disqualified_entry():
    honest = records.row(1, (0.5, 0.5, 0.5, 0.5), (1, 1, 1))
    cheat = records.row(2, (0.9, 0.9, 0.9, 0.9), (None, None, None), eligibility=Eligibility.DISQUALIFIED)
    table = build_table(records.standings([honest, cheat]))
    assert table.is_best(honest)
    assert all(table.is_best(honest, task) for task in table.view.tasks)
    assert not any(table.is_best(cheat, task) for task in (None, *table.view.tasks))


def test_an_unscored_task_is_never_best():
    row = records.row(1, (0.5, 0.5, 0.5, 0.5), (None, None, None), score=None)
    row = row.model_copy(update={"tasks": dict.fromkeys(row.tasks)})
    table = build_table(records.standings([row]))
    assert not any(table.is_best(row, task) for task in (None, *table.view.tasks))


shares = st.floats(0, 1, allow_nan=False)
intervals = st.tuples(shares, shares).map(
    lambda pair: Interval(low=min(pair), high=max(pair), method="bootstrap"),
)


@given(st.lists(intervals, max_size=20))
def test_an_axis_holds_the_best_interval_and_says_which_it_leaves_off(known):
    axis = charts.axis_for(known)
    assert 0 <= axis.low < axis.high <= 1
    assert 2 <= len(axis.ticks) <= 5
    assert len({axis.label(tick) for tick in axis.ticks}) == len(axis.ticks)
    for interval in known:
        assert axis.misses(interval) or axis.low - 1e-9 <= interval.low
        assert interval.high <= axis.high + 1e-9
        assert 0 <= axis.at(interval.low) <= axis.at(interval.high) <= 100
    if known:
        assert not axis.misses(max(known, key=lambda interval: interval.high))


@given(shares, shares)
def test_positions_keep_the_order_of_values(one, other):
    assert (charts.UNIT.at(one) <= charts.UNIT.at(other)) or one > other


def test_neighbours_are_the_rows_around_an_entry():
    rows = [records.row(rank, (0.5,) * 4, (rank, rank, rank)) for rank in range(1, 10)]
    assert [row.rank for row in neighbours(rows, "s5", around=2)] == [3, 4, 5, 6, 7]
    assert [row.rank for row in neighbours(rows, "s1", around=2)] == [1, 2, 3]
    assert neighbours(rows, "s99") == []
