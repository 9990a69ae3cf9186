"""Scores in tables of the command line and on a submission's card: with an interval, without one, or none at all."""

from __future__ import annotations

import json

import pytest

from competition.records.evaluation import EvaluationReport, Interval
from competition.records.standings import StandingsView
from competition.records.submission import Score
from competition.rules import find_competition
from participant_kit.card import render
from participant_kit.cli import standings, status
from participant_kit.cli.console import Console
from participant_kit.cli.standings import format_score
from tests.leaderboard.web import records
from tests.participant_kit.comparison.made import report, result, right


def test_a_score_is_a_value_with_its_interval_where_there_is_one() -> None:
    known = Interval(low=0.7, high=0.76, method="bootstrap")
    assert format_score(Score(value=0.731, interval=known)) == "0.731 [0.700, 0.760]"
    assert format_score(Score(value=123.456, interval=None)) == "123.456"
    assert format_score(Score(value=0.00123, interval=None)) == "0.00123"
    assert format_score(None) == "unscored"


def _bare_view() -> StandingsView:
    rows = [
        records.row(rank, (0.5,) * 4, (rank, None, None), score=Score(value=value, interval=None))
        for rank, value in ((1, 1.25), (2, 1.75))
    ]
    return records.standings(rows).model_copy(update={"less_is_better": True})


def test_standings_say_which_way_is_better_and_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    standings.show(Console(as_json=False), _bare_view())
    bare = capsys.readouterr().out
    assert "less is better" in bare
    assert bare.count("not known") == 2
    assert "1.250 " in bare
    standings.show(Console(as_json=False), records.sample_standings())
    known = capsys.readouterr().out
    assert "less is better" not in known
    assert "not known" not in known
    assert "1-2" in known
    standings.show(Console(as_json=True), _bare_view())
    (row, _) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["rank_low"], row["score"]) == (None, {"value": 1.25, "interval": None})


def test_the_status_of_an_entry_shows_bare_values(capsys: pytest.CaptureFixture[str]) -> None:
    results = [each.model_copy(update={"score": Score(value=31.4, interval=None)}) for each in records.results()]
    view = records.submission(1).model_copy(update={"results": results})
    status.show(Console(as_json=False), view, "https://example.org")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("  ")] == ["31.400"] * len(results)


def test_a_card_leaves_the_interval_of_a_bare_value_empty() -> None:
    rules = find_competition("digits")
    first, second = (task.id for task in rules.suite.tasks[:2])
    made: EvaluationReport = report(
        result(first, [right(0.2, 50, 1)]).model_copy(update={"value": 12.5, "interval": None}),
        result(second, [right(0.2, 50, 1)]),
    )
    card = render(rules, rules.scales[0], "Method", "What it does.", made)
    assert "| acc1 | 12.500 |  |" in card
    assert "| 0.000 to 1.000 |" in card
