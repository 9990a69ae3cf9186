"""How numbers and times are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition import story
from competition.records.evaluation import Interval
from leaderboard.web import formatting


def test_a_missing_value_is_a_dash_and_never_zero():
    assert formatting.score(None) == formatting.count(None) == "–"


def test_times_are_utc_and_say_so():
    moment = datetime(2026, 1, 5, 23, 30, 9, tzinfo=timezone(timedelta(hours=-2)))
    assert story.day(moment) == "6 Jan 2026"
    assert formatting.instant(moment) == "6 Jan 2026, 01:30 UTC"
    assert formatting.exact(moment) == "6 Jan 2026, 01:30:09 UTC"
    assert formatting.iso(moment) == "2026-01-06T01:30:09Z"
    assert datetime.fromisoformat(formatting.iso(moment)).astimezone(UTC) == moment


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(1, 1000, "under 1 %"), (0, 5, "0 %"), (5, 5, "100 %"), (1, 0, "–"), (30, 100, "30 %")]
)
def test_shares(part, whole, text):
    assert formatting.share(part, whole) == text


@pytest.mark.parametrize(("value", "text"), [(3, "3 bytes"), (2048, "2 KiB"), (2 * 2**30, "2 GiB")])
def test_sizes(value, text):
    assert formatting.size(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.04, "0.0 s"), (3.21, "3.2 s"), (75, "75 s"), (600, "10 min")])
def test_durations(value, text):
    assert formatting.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.7124, "0.712"), (0.0, "0.000"), (1.0, "1.000"), (0.00412, "0.00412"), (0.01, "0.010")),
        *((123.456, "123.456"), (-0.5, "-0.500"), (1000.0, "1,000"), (12345.6, "12,345.600"), (5e-7, "5e-07")),
    ],
)
def test_values_are_written_with_what_tells_them_apart(value, text):
    assert formatting.score(value) == text


def test_an_interval_in_words():
    interval = Interval(low=0.7, high=0.76, method="clopper-pearson")
    assert (formatting.bounds(interval), formatting.half_width(interval)) == ("0.700 to 0.760", "0.030")


def test_code_spans():
    assert formatting.code_spans("Run `datacup submit` <now>") == "Run <code>datacup submit</code> &lt;now&gt;"
    assert formatting.code_spans("one ` alone") == "one ` alone"


@given(st.text())
def test_code_spans_never_let_markup_through(text):
    marked = formatting.code_spans(text)
    assert "<" not in marked.replace("<code>", "").replace("</code>", "")
    assert marked.unescape().replace("<code>", "`").replace("</code>", "`") == text.replace("<code>", "`").replace(
        "</code>", "`"
    )
