"""`datacup-scorer batch` with real processes: killed, it loses and repeats nothing; replays find the truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from competition.evaluation.run import evaluate_suite
from competition.records.lifecycle import Processing, chain_is_intact
from competition.records.rescoring import RescoringState
from competition.rules import Competition
from leaderboard.accounts.service import create_token
from leaderboard.accounts.viewer import Scope
from leaderboard.clock import utc_now
from leaderboard.database import Database
from tests.competition.verification.entries import TASKS
from tests.faults.nursery import Process
from tests.faults.proxy import Exchange
from tests.faults.scene import Scene
from tests.faults.test_killed_workers import Killer, numbered
from tests.scorer.newer import CHANGED, KEPT, NEW, NEWER_TASKS, write_newer


class Organiser:
    """Runs the command as an organiser does."""

    def __init__(self, scene: Scene, database: Database, token: str) -> None:
        self.scene = scene
        self.database = database
        self.token = token
        self.file = scene.folder / "tiny-2.yaml"
        self.newer: Competition = write_newer(self.file)

    def start(self, *arguments: str) -> Process:
        environment = {
            **self.scene.workplace.environment,
            "DATACUP_ENDPOINT": self.scene.api.url,
            "DATACUP_TOKEN": self.token,
            "DATACUP_POLL_SECONDS": "0.1",
            "DATACUP_THREADS": "1",
        }
        command = ["batch", "--competition", str(self.file), "--yes", "--json", *arguments]
        return self.scene.nursery.start("scorer", command, environment, self.scene.folder)

    def run(self, *arguments: str) -> Any:
        """The JSON that it prints."""
        process = self.start(*arguments)
        process.wait()
        printed = process.output.read_text()
        assert printed, process.errors.read_text()
        return json.loads(printed)

    def results(self, submission: str, suite: str) -> dict[str, float]:
        found = {each.suite: each for each in self.scene.participant.evaluations(submission)}
        return {result.task: result.score.value for result in found[suite].results}


@pytest.fixture
def organiser(scene: Scene) -> Iterator[Organiser]:
    database = Database(scene.database_url)
    now = utc_now()
    with database.writing() as session:
        token = create_token(
            session, account="organiser", scopes=[Scope.ADMIN], now=now, expires_at=now + timedelta(days=9)
        )
    yield Organiser(scene, database, token)
    database.close()


def official(scene: Scene, submission: str, rules: Competition) -> dict[str, float]:
    """What the kit says of the entry's model, in this process."""
    model = scene.folder / submission / "model.safetensors"
    report = evaluate_suite(model, rules, rules.recipes[0], scene.workplace.root / "evaluation")
    return {result.task: result.value for result in report.results}


def check_log(scene: Scene, submission: str) -> None:
    """Each task has one result a suite, none was scored twice, and the chain holds."""
    events = scene.events(submission)
    assert chain_is_intact(events)
    told = [event.detail["task"] for event in events if event.kind == "task_result"]
    assert told[:3] == list(TASKS)
    assert sorted(told[3:]) == sorted(NEWER_TASKS)
    assert [event.kind for event in events if event.kind in {"evaluated", "rescored"}] == ["evaluated", "rescored"]
    assert scene.state(submission) is Processing.SCORED


def test_killed_while_it_scores_under_a_newer_suite_and_started_again(scene: Scene, organiser: Organiser) -> None:
    first, second = scene.enter(weights=1), scene.enter(weights=2)
    scene.drain()
    scene.settled()
    before = scene.participant.standings("tiny", track="filtering", scale="nano")

    plan = organiser.run("--suite", "tiny@2", "--dry-run")
    assert (plan["tasks"]["kept"], plan["tasks"]["changed"]) == ([KEPT], [CHANGED])
    assert (plan["entries"], plan["evaluations"], plan["taken_over"]) == (2, 4, 2)

    killer = Killer()

    def kill(exchange: Exchange) -> None:
        assert exchange.forward().status == 204
        killer()
        exchange.drop()

    fault = scene.api.on(numbered("/results", 1), kill)
    worker = organiser.start("--suite", "tiny@2", "--publish")
    killer.name(worker)
    worker.wait()
    assert fault.happened == 1
    now = scene.participant.standings("tiny", track="filtering", scale="nano")
    assert [row.score for row in now.rows] == [row.score for row in before.rows], "the old numbers stay public"

    scene.lose_lease()
    report = organiser.run("--suite", "tiny@2", "--publish")
    assert report["rescoring"]["state"] == RescoringState.PUBLISHED
    after = scene.participant.standings("tiny", track="filtering", scale="nano")
    assert (after.suite, len(after.rows)) == ("tiny@2", 2)
    for submission in (first, second):
        check_log(scene, submission)
        assert [each.suite for each in scene.participant.evaluations(submission)] == ["tiny@1", "tiny@2"]
        assert organiser.results(submission, "tiny@2") == pytest.approx(official(scene, submission, organiser.newer))
        assert organiser.results(submission, "tiny@2")[KEPT] == organiser.results(submission, "tiny@1")[KEPT]
    ranks = {row.submission_id: row.rank for row in after.rows}
    assert {each["submission_id"]: each["rank_after"] for each in report["entries"]} == ranks
    check_replays(scene, organiser, first)


def check_replays(scene: Scene, organiser: Organiser, submission: str) -> None:
    """The values of the older suite hold, from the mirror alone; one of the newer that was tampered with is found."""
    scene.hub.api().delete_repo("alice/entries")
    replayed = organiser.run("--replay", submission, "--suite", "tiny@1")
    assert [task["task"] for task in replayed["tasks"]] == list(TASKS)
    assert (replayed["suite"], replayed["differing"]) == ("tiny@1", [])
    with organiser.database.writing() as session:
        session.execute(
            text("UPDATE task_results SET value = value + 0.5 WHERE task = :task AND evaluation_id IN "
                 "(SELECT id FROM evaluations WHERE submission_id = :id)"),
            {"task": NEW, "id": submission},
        )  # fmt: skip
    view = scene.participant.submission(submission)
    replayed = organiser.run("--replay", submission)
    assert (replayed["suite"], replayed["differing"]) == ("tiny@2", [NEW])
    assert scene.participant.submission(submission) == view, "a replay stores nothing"
    notes = [event.detail["outside_tolerance"] for event in scene.events(submission) if event.kind == "replayed"]
    assert notes == [0, 1]
    assert chain_is_intact(scene.events(submission))
