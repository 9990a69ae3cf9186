"""The event log in words, and the steps of every end."""

from __future__ import annotations

import pytest

from competition.records.lifecycle import Processing
from leaderboard.web import timeline
from tests.leaderboard.web import records

TITLES = {task.id: task.title for task in records.DIGITS.suite.tasks}


def states(view, events):
    return [step.state.value for step in timeline.steps(view, events)]


def test_a_scored_entry_has_taken_every_step():
    assert states(records.submission(1), records.scored_events()) == ["done"] * 6


@pytest.mark.parametrize(
    ("processing", "done"), [("draft", 0), ("received", 1), ("validating", 2), ("queued", 3), ("running", 4)]
)
def test_an_entry_on_its_way_stands_on_one_step(processing, done):
    found = states(records.submission(1, Processing(processing)), [])
    assert found == ["done"] * done + ["current"] + ["ahead"] * (5 - done)


def test_a_refused_entry_stops_at_the_step_that_it_failed():
    events = records.events(
        [
            ("registered", None, "draft", {}),
            ("processing", "draft", "received", {}),
            ("processing", "received", "mirrored", {}),
            ("processing", "mirrored", "invalid", {"reason": "digest_mismatch", "message": "It differs."}),
        ]
    )
    assert states(records.refused(), events) == ["done", "done", "stopped", "ahead", "ahead", "ahead"]
    last = timeline.moments(events, TITLES)[-1]
    assert (last.title, last.note, last.tone) == ("Refused", "Digest mismatch · It differs.", "bad")


def test_the_story_of_a_lost_worker_can_be_read():
    story = timeline.moments(records.scored_events(), TITLES)
    titles = [moment.title for moment in story]
    assert titles[0] == "Registered; the upload may begin"
    assert "Evaluating: Test digits" in titles
    assert "Result accepted: Hidden digits" in titles
    assert titles[-1] == "Scored: every task has a verified result"
    lost = next(moment for moment in story if moment.tone == "bad")
    assert lost.title == "The worker fell silent; its work goes back to the queue"
    assert lost.note == "Nothing was heard."


def test_an_event_of_an_unknown_kind_keeps_its_own_words():
    events = records.events([("appeal_heard", None, "granted", {"by": "jury", "round": 2, "nested": {"x": 1}})])
    (moment,) = timeline.moments(events, TITLES)
    assert moment.title == "Appeal heard: granted"
    assert moment.note == "by jury · round 2"
