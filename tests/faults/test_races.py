"""Two workers want the same thing at the same time, or one comes back from the dead."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from competition.errors import RejectionReason
from competition.records.lifecycle import Processing
from competition.records.scoring import ClaimRequest, EntryInvalid, JobFinish, JobGrant, PlatformFailure
from leaderboard.settings import Settings
from tests.competition.verification.entries import TASKS
from tests.faults.proxy import Exchange
from tests.faults.scene import Scene

RACES = 200


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A job that is raced for fails as often as there are races."""
    return settings.model_copy(update={"max_attempts": RACES + 1, "reaper_seconds": 0})


def test_two_workers_race_for_one_job_two_hundred_times(scene: Scene) -> None:
    scene.enter_mirrored()
    clients = [scene.client(), scene.client()]
    ready = threading.Barrier(2)

    def claim(number: int) -> JobGrant | None:
        ready.wait(30)
        return clients[number].claim(ClaimRequest(worker=f"racer-{number}"))

    winners = []
    with ThreadPoolExecutor(2) as pool:
        for race in range(1, RACES + 1):
            grants = list(pool.map(claim, range(2)))
            won = [number for number, grant in enumerate(grants) if grant is not None]
            assert len(won) == 1, f"race {race} was won by {len(won)} workers"
            grant = grants[won[0]]
            assert grant is not None
            assert grant.attempt == race
            winners.append(won[0])
            outcome = (
                PlatformFailure(attempt=race, message="Once more.")
                if race < RACES
                else EntryInvalid(attempt=race, reason=RejectionReason.FILE_MISSING, message="Enough.")
            )
            clients[won[0]].finish(grant, JobFinish(report=outcome))
    assert set(winners) == {0, 1}, "there was a race"
    scene.settled(Processing.INVALID)


def test_a_worker_that_sleeps_past_its_lease_and_posts_late_changes_nothing(scene: Scene) -> None:
    """Stopped in the middle of a post, which arrives when another worker has done everything."""
    submission = scene.enter_mirrored()
    asleep, late = threading.Event(), threading.Event()
    statuses: list[int] = []

    def hold(exchange: Exchange) -> None:
        asleep.set()
        assert late.wait(100)
        reply = exchange.forward()
        statuses.append(reply.status)
        exchange.answer(reply)

    posts: list[str] = []

    def second_result(line: str) -> bool:
        if line.endswith("/results"):
            posts.append(line)
        return line.endswith("/results") and len(posts) == 2

    scene.api.on(second_result, hold)
    sleeper = scene.worker("--drain", worker="sleeper")
    assert asleep.wait(100)
    sleeper.send(signal.SIGSTOP)
    scene.lose_lease()
    scene.drain(worker="second")
    scene.settled()
    late.set()
    sleeper.send(signal.SIGCONT)
    sleeper.wait()
    assert statuses == [409]
    assert [event["event"] for event in sleeper.events()][-1] == "abandoned"
    assert scene.results(submission) == [(TASKS[0], 1), (TASKS[1], 2), (TASKS[2], 2)]
    scene.settled()
