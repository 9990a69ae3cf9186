"""Grouping, best values and the shared axis, against every arrangement that Hypothesis finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from competition.records.evaluation import Interval
from competition.records.lifecycle import Eligibility
from competition.records.submission import Score
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


@st.composite
def scores(draw, numbers):
    """Scores of these numbers, some without an interval."""
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    bare = draw(st.booleans())
    return Score(value=value, interval=None if bare else Interval(low=low, high=high, method="bootstrap"))


def _span(score):
    return (score.interval.low, score.interval.high) if score.interval else (score.value, score.value)


def _check_axis(axis, known, *, less_is_better):
    assert 2 <= len(axis.ticks) <= 5
    assert list(axis.ticks) == sorted(set(axis.ticks))
    assert (axis.low, axis.high) == (axis.ticks[0], axis.ticks[-1])
    assert len({axis.label(tick) for tick in axis.ticks}) == len(axis.ticks)
    room = 1e-6 * (axis.high - axis.low) + 1e-9
    for score in known:
        low, high = _span(score)
        inside = axis.low - room <= low and high <= axis.high + room
        assert inside or axis.side(score) == ("above" if less_is_better else "below")
        assert 0 <= axis.at(low) <= axis.at(high) <= 100
    if known:
        best = min(known, key=_span) if less_is_better else max(known, key=lambda score: _span(score)[1])
        assert axis.side(best) == ""


@given(st.lists(scores(shares), max_size=20), st.booleans())
def test_an_axis_holds_the_best_interval_and_says_which_it_leaves_off(known, less_is_better):
    axis = charts.axis_for(known, less_is_better=less_is_better)
    assert 0 <= axis.low < axis.high <= 1
    _check_axis(axis, known, less_is_better=less_is_better)


@given(st.lists(scores(st.floats(-1e4, 1e6).map(lambda value: round(value, 3))), max_size=20), st.booleans())
def test_an_axis_of_numbers_that_are_no_shares_does_so_too(known, less_is_better):
    _check_axis(charts.axis_for(known, less_is_better=less_is_better), known, less_is_better=less_is_better)


def test_an_axis_of_distances_and_of_ranks_has_round_ticks():
    distances = [Score(value=value, interval=None) for value in (7.25, 123.4, 88.0)]
    axis = charts.axis_for(distances, less_is_better=True)
    assert [axis.label(tick) for tick in axis.ticks] == ["0", "50", "100", "150"]
    ranks = charts.axis_for([Score(value=value, interval=None) for value in (1.25, 2.5)], less_is_better=True)
    assert [ranks.label(tick) for tick in ranks.ticks] == ["1.0", "1.5", "2.0", "2.5"]


def test_an_axis_of_next_to_nothing_is_still_an_axis():
    for value in (-5e-324, -1e-17, 1.0000000001):
        _check_axis(charts.axis_for([Score(value=value, interval=None)]), [], less_is_better=False)


def test_rows_without_a_rank_range_are_neither_tied_nor_separate():
    rows = [records.row(rank, (0.5,) * 4, (rank, None, None)) for rank in (1, 2)]
    rows.append(records.row(3, (0.5,) * 4, (3, 3, 3)))
    groups = group_by_rank_range(rows)
    assert [(len(group.rows), group.known, group.tied) for group in groups] == [(2, False, False), (1, True, False)]


def test_where_less_is_better_the_least_is_best():
    view = records.standings([records.row(n, (n / 10,) * 4, (n, n, n)) for n in (1, 2)])
    first = view.tasks[0].model_copy(update={"less_is_better": True})
    view = view.model_copy(update={"less_is_better": True, "tasks": [first, *view.tasks[1:]]})
    table = build_table(view)
    low, high = view.rows
    assert table.is_best(low)
    assert table.is_best(low, view.tasks[0])
    assert table.is_best(high, view.tasks[1])
    assert not table.is_best(high, view.tasks[0])


def test_a_leader_without_an_interval_has_no_band():
    row = records.row(1, (0.5,) * 4, (1, None, None), score=Score(value=0.5, interval=None))
    assert build_table(records.standings([row])).leader is None


@given(shares, shares)
def test_positions_keep_the_order_of_values(one, other):
    assert (charts.UNIT.at(one) <= charts.UNIT.at(other)) or one > other


def test_neighbours_are_the_rows_around_an_entry():
    rows = [records.row(rank, (0.5,) * 4, (rank, rank, rank)) for rank in range(1, 10)]
    assert [row.rank for row in neighbours(rows, "s5", around=2)] == [3, 4, 5, 6, 7]
    assert [row.rank for row in neighbours(rows, "s1", around=2)] == [1, 2, 3]
    assert neighbours(rows, "s99") == []
