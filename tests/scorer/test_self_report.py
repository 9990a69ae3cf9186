"""A report that promises more than was verified, and a near copy, are told of to all and change no score."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from competition.records.lifecycle import Processing, chain_is_intact
from competition.records.submission import NearCopyNotice, ReportedGapNotice
from scorer.work import Mode
from tests.competition.verification.entries import TASKS, TinyEntry, tiny_weights
from tests.scorer.conftest import Board, Enter, Workplace
from tests.scorer.test_service import make_service

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def _boast(entry: TinyEntry) -> None:
    """The first task's result is perfect, they say."""
    entry.evaluation()
    report = json.loads((entry.folder / "evaluation_report.json").read_text())
    boast = {**report["results"][0], "value": 1.0}
    entry.evaluation(results=[boast])
    entry.seal()


def _copy(entry: TinyEntry) -> None:
    """The weights are those of the entry of seed 0, give or take a thousandth."""
    entry.save_weights({name: np.asarray(each * 1.001, np.float32) for name, each in tiny_weights(0).items()})
    entry.seal()


def test_a_boast_and_a_near_copy_are_told_of_and_change_no_score(
    board: Board, workplace: Workplace, enter: Enter
) -> None:
    submission = enter(damage=_boast)
    copy = enter(1, damage=_copy)
    events: list[dict[str, Any]] = []
    make_service(board, workplace, events.append).run(Mode.DRAIN)
    found = {
        event["task"]: event["value"]
        for event in events
        if event["event"] == "task" and event["submission"] == submission
    }
    (told,) = [event for event in events if event["event"] == "reported_gap"]
    assert told["task"] == TASKS[0]
    assert told["gap"] == pytest.approx(1.0 - found[TASKS[0]])
    assert list(found) == list(TASKS)
    view = board.participant.submission(submission)
    assert view.processing is Processing.SCORED
    assert {result.task: result.score.value for result in view.results} == found
    (gap,) = view.notices
    assert isinstance(gap, ReportedGapNotice)
    assert (gap.task, gap.reported, gap.verified) == (TASKS[0], pytest.approx(1.0), found[TASKS[0]])
    other = board.participant.submission(copy)
    assert other.processing is Processing.SCORED
    (near,) = other.notices
    assert isinstance(near, NearCopyNotice)
    assert (near.other, near.other_account) == (submission, "alice")
    assert near.distance == pytest.approx(0.001, rel=0.02)
    assert chain_is_intact(board.participant.events(copy))
