"""A worker that is killed, at every stage of its work: the next one loses nothing and repeats nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from competition.records.lifecycle import Processing
from tests.competition.verification.entries import TASKS
from tests.faults.nursery import Process
from tests.faults.proxy import Exchange
from tests.faults.scene import Scene

A, B, C = TASKS


@dataclass(frozen=True)
class Stage:
    """When a worker is killed: at the ``number``-th request to the API that ends so, before or after it is carried out.

    The killed worker never hears the answer. ``results`` are the tasks that the API then has, with the attempts that
    bring them in the end.
    """

    ending: str
    number: int
    carried_out: bool
    results: tuple[tuple[str, int], ...]


STAGES = {
    "verified, unheard": Stage("/finish", 1, carried_out=True, results=((A, 1), (B, 1), (C, 1))),
    "between two tasks": Stage("/stage", 4, carried_out=True, results=((A, 1), (B, 2), (C, 2))),
    "before a result arrives": Stage("/results", 2, carried_out=False, results=((A, 1), (B, 2), (C, 2))),
    "after a result has arrived": Stage("/results", 2, carried_out=True, results=((A, 1), (B, 1), (C, 2))),
    "after the last result": Stage("/finish", 2, carried_out=False, results=((A, 1), (B, 1), (C, 1))),
    "scored, unheard": Stage("/finish", 2, carried_out=True, results=((A, 1), (B, 1), (C, 1))),
}


@dataclass
class Killer:
    """Kills a worker that is named later than the fault is set up."""

    worker: Process | None = None
    named: threading.Event = field(default_factory=threading.Event)

    def name(self, worker: Process) -> None:
        self.worker = worker
        self.named.set()

    def __call__(self) -> None:
        assert self.named.wait(60)
        assert self.worker is not None
        self.worker.kill()


def numbered(ending: str, number: int) -> Callable[[str], bool]:
    """Matches the ``number``-th request that ends so."""
    seen: list[str] = []

    def matches(request: str) -> bool:
        if request.endswith(ending):
            seen.append(request)
        return request.endswith(ending) and len(seen) == number

    return matches


@pytest.mark.parametrize("name", STAGES)
def test_killed_while_it_speaks_to_the_leaderboard(scene: Scene, name: str) -> None:
    stage = STAGES[name]
    submission = scene.enter_mirrored()
    killer = Killer()

    def kill(exchange: Exchange) -> None:
        if stage.carried_out:
            assert exchange.forward().status == 204
        killer()
        exchange.drop()

    fault = scene.api.on(numbered(stage.ending, stage.number), kill)
    worker = scene.worker("--drain")
    killer.name(worker)
    worker.wait()
    assert fault.happened == 1
    scene.lose_lease()
    scene.drain()
    scene.settled()
    assert scene.results(submission) == list(stage.results)


def test_killed_while_it_fetches(scene: Scene) -> None:
    submission = scene.enter()
    killer = Killer()

    def kill(exchange: Exchange) -> None:
        reply = exchange.forward()
        assert reply.status == 200
        exchange.answer(reply.with_body(reply.body[: len(reply.body) // 2]))
        killer()

    fault = scene.hub_proxy.on(lambda line: line.startswith("GET") and line.endswith("/model.safetensors"), kill)
    worker = scene.worker("--drain")
    killer.name(worker)
    worker.wait()
    assert fault.happened == 1
    assert scene.state(submission) is Processing.RECEIVED
    scene.lose_lease()
    scene.drain()
    scene.settled()
    assert [event.detail["attempt"] for event in scene.events(submission) if event.kind == "claimed"] == [1, 2, 1]


def test_killed_while_it_verifies(scene: Scene) -> None:
    submission = scene.enter_mirrored()
    worker = scene.worker("--drain")
    worker.wait_for("checking")
    worker.kill()
    assert scene.state(submission) is Processing.VALIDATING
    scene.lose_lease()
    scene.drain()
    scene.settled()
