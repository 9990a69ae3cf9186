"""A report that promises more than was verified is told of while the entry is scored, and changes no score."""

from __future__ import annotations

import json
from typing import Any

import pytest

from competition.records.lifecycle import Processing
from scorer.work import Mode
from tests.competition.verification.entries import TASKS, TinyEntry
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


def test_a_boast_is_told_of_and_the_verified_number_stands(board: Board, workplace: Workplace, enter: Enter) -> None:
    submission = enter(damage=_boast)
    events: list[dict[str, Any]] = []
    make_service(board, workplace, events.append).run(Mode.DRAIN)
    assert board.participant.submission(submission).processing is Processing.SCORED
    found = {event["task"]: event["value"] for event in events if event["event"] == "task"}
    (told,) = [event for event in events if event["event"] == "reported_gap"]
    assert told["task"] == TASKS[0]
    assert told["gap"] == pytest.approx(1.0 - found[TASKS[0]])
    assert list(found) == list(TASKS)
