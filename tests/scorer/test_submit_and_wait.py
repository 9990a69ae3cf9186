"""``datacup submit --wait`` as it is typed, with a real Hub, a real leaderboard and a scorer at work meanwhile."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from participant_kit.hub import HubTarget
from scorer import sandbox
from scorer.work import Mode
from tests.competition.evaluation.predicted import SETS, all_guesses
from tests.participant_kit.cli.typed import typed
from tests.scorer.conftest import Board, Workplace
from tests.scorer.test_predictions import competition, target, workplace
from tests.scorer.test_service import make_service

__all__ = ["competition", "target", "workplace"]

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_waiting_for_a_submission_ends_with_how_it_ended(
    board: Board, workplace: Workplace, target: HubTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATACUP_ENDPOINT", board.url)
    monkeypatch.setenv("DATACUP_TOKEN", board.participant._http.headers["Authorization"].removeprefix("Bearer "))
    monkeypatch.setenv("HF_ENDPOINT", target.endpoint)
    rules = workplace.root / "tiny.yaml"
    good = all_guesses()
    reversed_columns = good | {SETS[1]: good[SETS[1]][:, ::-1]}
    service = make_service(board, workplace)
    # Command and scorer are one process here: its environment must not be scrubbed while the command reads it.
    service._children.warm_up()
    monkeypatch.setattr(sandbox, "scrubbed_environment", nullcontext)
    at_work = threading.Thread(target=service.run, args=(Mode.FOREVER,))
    at_work.start()
    try:
        ended = {}
        for name, sets in (("good", good), ("reversed", reversed_columns)):
            np.savez_compressed(tmp_path / f"{name}.npz", **sets)
            where = ("--competition", rules, "--track", "predictions", "--scale", "digits")
            named = ("--method-name", name, "--author", "Ada", "--hf-repo-name", target.repo)
            ended[name] = typed("submit", *where, *named, "--predictions", tmp_path / f"{name}.npz", "--wait")
    finally:
        service.stop.request()
        at_work.join()
    assert ended["good"].code == 0, ended["good"].err
    assert "Next: datacup standings guess --track predictions --scale digits" in ended["good"].err
    assert ended["reversed"].code == 10, ended["reversed"].err
    assert "refused because" in ended["reversed"].out
    assert "the best class comes first" in ended["reversed"].out
