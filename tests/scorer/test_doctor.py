"""``datacup-scorer doctor`` on machines that lack something, with a real leaderboard and a real Hub."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from competition.evalsets.lock import record_set, write_lock
from competition.evalsets.sources import Origin
from leaderboard.accounts.service import create_token as create_api_token
from leaderboard.accounts.viewer import Scope
from scorer.doctor import Diagnosis, Level, examine
from scorer.settings import ScorerSettings
from tests.competition.verification.entries import TASKS
from tests.scorer.conftest import Board, RunningHub, Workplace
from tests.scorer.test_cli import scorer


def settings_of(workplace: Workplace, **given: Any) -> ScorerSettings:
    folders = {name.removeprefix("DATACUP_").lower(): value for name, value in workplace.environment.items()}
    return ScorerSettings(**{**folders, "endpoint": "http://127.0.0.1:9", "token": "t", "memory_bytes": 2**20, **given})


def findings(settings: ScorerSettings, check: str, **options: Any) -> list[Diagnosis]:
    return [found for found in examine(settings, **{"insecure": True, **options}) if found.check == check]


def test_a_machine_that_has_everything_fails_nothing(workplace: Workplace, board: Board, hub: RunningHub) -> None:
    for task in TASKS:
        lock = record_set(workplace.root / "evaluation" / task, task, Origin.ELSEWHERE, source="test")
        write_lock(workplace.root / "evaluation", lock)
    settings = settings_of(workplace, endpoint=board.url, token=board.scorer_token, hubs=hub.url)
    rules = str(workplace.root / "tiny.yaml")
    found = list(examine(settings, (rules,), digests=True, insecure=True))
    assert [item for item in found if item.level is Level.FAIL] == []
    assert {item.check for item in found if item.level is Level.OK} >= {
        *("memory", "disk", "evaluation sets", "leaderboard", "hub")
    }


def test_sets_are_held_against_their_locks(workplace: Workplace) -> None:
    root, rules = workplace.root / "evaluation", str(workplace.root / "tiny.yaml")
    settings = settings_of(workplace)
    [found] = findings(settings, "evaluation sets", competitions=(rules,))
    assert (found.level, "without a lock file" in found.message) == (Level.WARN, True)
    for task in TASKS:
        write_lock(root, record_set(root / task, task, Origin.ELSEWHERE, source="test"))
    (root / TASKS[0] / "test" / "0.tar").write_bytes(b"other")
    [glance] = findings(settings, "evaluation sets", competitions=(rules,))
    assert glance.level is Level.OK, "a glance does not read the files"
    [found] = findings(settings, "evaluation sets", competitions=(rules,), digests=True)
    assert (found.level, found.message.split(": ", 1)[1]) == (Level.FAIL, f"{TASKS[0]}: differs from its lock file.")


def test_a_set_that_is_absent_fails_only_the_competition_that_was_asked_for(
    workplace: Workplace, tmp_path: Path
) -> None:
    settings = settings_of(workplace, evaluation=str(tmp_path / "none"))
    [asked] = findings(settings, "evaluation sets", competitions=("select",))
    assert asked.level is Level.FAIL
    assert "evalsets download select@" in asked.advice
    assert {found.level for found in findings(settings, "evaluation sets")} == {Level.OK, Level.WARN}


def test_a_set_that_leads_out_of_what_is_visible_is_named(workplace: Workplace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (workplace.root / "evaluation" / "linked").symlink_to(outside)
    rules = str(workplace.root / "tiny.yaml")
    found = findings(settings_of(workplace), "evaluation sets", competitions=(rules,))
    assert [item.message for item in found if item.level is Level.FAIL] == [
        f"{workplace.root}/evaluation/linked is a link to {outside}, which isolated processes do not see."
    ]
    named = settings_of(workplace, readable=str(outside))
    found = findings(named, "evaluation sets", competitions=(rules,))
    assert [item.message for item in found if item.level is Level.FAIL] == []


def test_tokens_are_looked_at(workplace: Workplace, board: Board) -> None:
    def told(token: str) -> tuple[Level, str]:
        [found] = findings(settings_of(workplace, endpoint=board.url, token=token), "leaderboard")
        return found.level, found.message

    level, message = told("dcp_unknown")
    assert (level, "does not accept the token" in message) == (Level.FAIL, True)
    assert "dcp_unknown" not in message
    for scope, expected in ((Scope.SUBMIT, Level.FAIL), (Scope.ADMIN, Level.WARN), (Scope.SCORE, Level.OK)):
        with board.gate.app.state.database.writing() as session:
            now = board.clock()
            expiry = now + timedelta(days=1)
            token = create_api_token(session, account="tested", scopes=[scope], now=now, expires_at=expiry)
        assert told(token)[0] is expected


def test_something_else_under_the_address_is_no_leaderboard(workplace: Workplace, hub: RunningHub) -> None:
    [found] = findings(settings_of(workplace, endpoint=hub.url), "leaderboard")
    assert found.level is Level.FAIL
    assert found.advice == "Is DATACUP_ENDPOINT the address of a DataCup leaderboard?"


def test_a_hub_that_is_down_or_wants_another_token_is_named(workplace: Workplace, hub: RunningHub) -> None:
    [absent] = findings(settings_of(workplace, hubs="http://127.0.0.1:9"), "hub")
    assert (absent.level, "does not answer" in absent.message) == (Level.FAIL, True)
    wrong = settings_of(workplace, hubs=hub.url, hub_token="hf_wrong", hub_token_endpoint=hub.url)
    [refused] = findings(wrong, "hub")
    assert refused.level is Level.FAIL
    assert "hf_wrong" not in refused.message + refused.advice
    hub.gate.status = 503
    [down] = findings(settings_of(workplace, hubs=hub.url), "hub")
    assert down.level is Level.WARN


def test_disks_and_memory_that_are_too_small_are_named(workplace: Workplace) -> None:
    full = findings(settings_of(workplace, free_bytes=2**60), "disk")
    assert [found.level for found in full] == [Level.FAIL, Level.FAIL, Level.OK]
    assert findings(settings_of(workplace, memory_bytes=2**60), "memory")[0].level is Level.WARN


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_prints_a_line_a_finding_and_its_status_tells(
    as_json: bool, workplace: Workplace, board: Board, hub: RunningHub
) -> None:
    environment = {
        **workplace.environment,
        "DATACUP_ENDPOINT": board.url,
        "DATACUP_TOKEN": board.scorer_token,
        "DATACUP_HUBS": hub.url,
    }
    arguments = ["doctor", "--insecure", *(["--json"] if as_json else [])]
    sound = scorer(*arguments, **environment)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    broken = scorer(*arguments, **{**environment, "DATACUP_TOKEN": "dcp_unknown"})
    assert broken.returncode == 1
    lines = broken.stdout.splitlines()
    if as_json:
        levels = {line["check"]: line["level"] for line in map(json.loads, lines)}
        assert (levels["leaderboard"], levels["hub"]) == ("fail", "ok")
    else:
        assert f"fail  leaderboard: {board.url} does not accept the token." in lines
        assert "      Ask the organisers for a new DATACUP_TOKEN." in lines
    assert "dcp_unknown" not in broken.stdout + broken.stderr
