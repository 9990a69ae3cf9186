"""The leaderboard's clock jumps: forward over every lease, and back to where it was."""

from __future__ import annotations

import threading
from datetime import timedelta

from competition.records.lifecycle import Processing
from tests.competition.verification.entries import TASKS
from tests.faults.proxy import Exchange
from tests.faults.scene import Scene

DAY = timedelta(days=1)


def at_result(scene: Scene, jump: timedelta) -> None:
    """The clock jumps when the first result has been accepted."""

    def act(exchange: Exchange) -> None:
        reply = exchange.forward()
        assert reply.status == 204
        scene.clock.ahead += jump
        exchange.answer(reply)

    scene.api.on(lambda line: line.endswith("/results"), act)


def test_forward_over_the_lease_of_a_worker_that_works(scene: Scene) -> None:
    submission = scene.enter_mirrored()
    at_result(scene, DAY)
    told = scene.drain()
    scene.settled()
    assert "abandoned" in [event["event"] for event in told]
    assert scene.results(submission) == [(TASKS[0], 1), (TASKS[1], 2), (TASKS[2], 2)]


def test_back_while_a_worker_works(scene: Scene) -> None:
    submission = scene.enter_mirrored()
    at_result(scene, -DAY)
    scene.drain()
    scene.settled()
    assert scene.results(submission) == [(TASKS[0], 1), (TASKS[1], 1), (TASKS[2], 1)]


def test_back_before_work_that_waits(scene: Scene) -> None:
    """What became due by the wrong clock is due by the right one."""
    scene.clock.ahead = DAY
    scene.enter_mirrored()
    scene.clock.ahead = timedelta()
    scene.drain()
    scene.settled()


def test_back_after_the_death_of_a_worker(scene: Scene) -> None:
    """A lease that was given by the wrong clock does not last until the right one gets there."""
    scene.clock.ahead = DAY
    submission = scene.enter_mirrored()
    arrived = threading.Event()

    def lose(exchange: Exchange) -> None:
        assert exchange.forward().status == 200
        arrived.set()
        exchange.drop()

    scene.api.on(lambda line: line.endswith("/claims"), lose)
    worker = scene.worker("--once")
    assert arrived.wait(100)
    worker.kill()
    scene.clock.ahead = timedelta()
    scene.drain()
    assert scene.state(submission) is Processing.RECEIVED, "the lease is as long as any other, from now on"
    scene.lose_lease()
    scene.drain()
    scene.settled()
