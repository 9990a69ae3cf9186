"""Scorers with mirrors of their own and one archive, with a real leaderboard and a real Hub: an entry outlives both."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from competition.records.lifecycle import JobKind, Processing
from scorer.children import Children
from scorer.settings import ScorerSettings
from scorer.work import Mode, Observer, Service
from tests.competition.verification.entries import TASKS
from tests.scorer.conftest import Board, Enter, RunningHub, Workplace
from tests.scorer.stores import folder_archive

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


class Machines:
    """Scorers by name: each has its own mirror, all have one archive."""

    def __init__(self, board: Board, workplace: Workplace, archive: Path) -> None:
        self.archive = archive
        self.events: list[dict[str, Any]] = []
        self._board = board
        self._workplace = workplace

    def mirror(self, name: str) -> Path:
        return self._workplace.root / f"mirror-{name}"

    def service(
        self,
        name: str,
        observe: Observer = lambda _event: None,
        kinds: tuple[JobKind, ...] = tuple(JobKind),
        **settings: Any,
    ) -> Service:
        folders = {key.removeprefix("DATACUP_").lower(): value for key, value in self._workplace.environment.items()}
        chosen = {
            **folders,
            "mirror": self.mirror(name),
            "archive": self.archive.as_uri(),
            "worker": name,
            "poll_seconds": 0.05,
            "threads": 1,
            **settings,
        }

        def hear(event: dict[str, Any]) -> None:
            self.events.append(event)
            observe(event)

        return Service(ScorerSettings(**chosen), self._board.client(), Children(), kinds=kinds, observe=hear)


@pytest.fixture
def machines(board: Board, workplace: Workplace) -> Machines:
    return Machines(board, workplace, workplace.root / "archive")


def results(board: Board, submission: str) -> dict[str, tuple[float, dict[str, float | None]]]:
    view = board.participant.submission(submission)
    assert view.processing is Processing.SCORED
    return {result.task: (result.score.value, result.metrics) for result in view.results}


def test_an_entry_whose_repository_and_first_mirror_are_gone_gets_the_same_scores_on_another_machine(
    board: Board, machines: Machines, enter: Enter, hub: RunningHub
) -> None:
    first = enter(seed=0)
    machines.service("a").run(Mode.DRAIN)
    again = enter(seed=0, twin=1)
    stopped = enter(seed=2)
    machines.service("a").run(Mode.ONCE)
    assert board.participant.submission(again).processing is Processing.QUEUED
    sent = [event["bytes"] for event in machines.events if event["event"] == "archived"]
    assert sent[0] > 3_000_000
    assert sent[1] == 0, "an entry of the same files is not sent again"

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "archived":
            service.stop.request()
            service.stop.request()

    service = machines.service("a", stop, (JobKind.INTAKE,))
    service.run(Mode.ONCE)
    assert board.participant.submission(stopped).processing is Processing.RECEIVED, "archived, and not verified"

    hub.api().delete_repo("alice/entries")
    shutil.rmtree(machines.mirror("a"))
    hub.gate.requests.clear()
    machines.service("b").run(Mode.DRAIN)
    assert hub.gate.requests == [], "everything came from the archive"
    assert results(board, again) == results(board, first)
    assert set(results(board, stopped)) == set(TASKS)


def test_an_archive_that_is_away_is_our_fault_and_waited_for(
    board: Board, machines: Machines, enter: Enter, tmp_path: Path
) -> None:
    submission = enter()
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the archive's folder should be")
    machines.service("a", archive=(blocked / "archive").as_uri()).run(Mode.ONCE)
    view = board.participant.submission(submission)
    assert (view.processing, view.rejection) == (Processing.RECEIVED, None)
    failure = next(event for event in board.participant.events(submission) if event.kind == "platform_failure")
    assert failure.detail["message"].startswith("The archive of mirrored entries failed while ")
    assert str(tmp_path) not in failure.detail["message"], "the log is public"
    machines.service("a").run(Mode.DRAIN)
    assert set(results(board, submission)) == set(TASKS)
    assert [name for name, _ in folder_archive(machines.archive).entries()] == [submission]
