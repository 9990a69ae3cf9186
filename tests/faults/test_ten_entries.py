"""Two workers score ten entries while one or the other is killed every few seconds; the numbers are those of peace."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from competition.records.lifecycle import Processing
from leaderboard.settings import Settings
from tests.competition.verification.entries import TASKS
from tests.faults.scene import Scene

ENTRIES = 10
KILLS = 8
LEASE_S = 5


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Leases end by themselves, and nothing is given up: a job may be under way at every kill."""
    return settings.model_copy(update={"lease_seconds": LEASE_S, "max_attempts": 10 * KILLS, "reaper_seconds": 0.5})


def numbers(scene: Scene, submission: str) -> dict[str, tuple[float, int, dict[str, float | None]]]:
    """What an entry was given for each task."""
    view = scene.participant.submission(submission)
    return {result.task: (result.score.value, result.samples, result.metrics) for result in view.results}


@pytest.mark.timeout(600)
def test_ten_entries_are_scored_by_workers_that_are_killed_every_few_seconds(scene: Scene) -> None:
    undisturbed = [scene.enter("alice/peace", weights=seed) for seed in range(1, ENTRIES + 1)]
    scene.drain()
    scene.settled()
    expected = [numbers(scene, submission) for submission in undisturbed]
    assert len({str(values) for values in expected}) > ENTRIES // 2, "a result that went to another entry would show"

    disturbed = [scene.enter("alice/war", weights=seed) for seed in range(1, ENTRIES + 1)]
    draw = random.Random(7)
    workers = [scene.worker(heartbeat_seconds=1) for _ in range(2)]
    kills = 0
    deadline = time.monotonic() + 400
    for victim in itertools.cycle(range(2)):
        assert time.monotonic() < deadline, "the entries do not come to an end"
        if kills >= KILLS and all(scene.state(submission) is Processing.SCORED for submission in disturbed):
            break
        if kills < KILLS:
            # At work, not between two entries: a kill that hits nothing proves nothing.
            workers[victim].wait_for("claimed")
            time.sleep(draw.uniform(0.0, 1.5))
            workers[victim].kill()
            workers[victim] = scene.worker(heartbeat_seconds=1)
            kills += 1
        else:
            time.sleep(0.2)
    for worker in workers:
        worker.kill()

    scene.settled()
    assert [numbers(scene, submission) for submission in disturbed] == expected
    for submission in disturbed:
        assert sorted(task for task, _ in scene.results(submission)) == sorted(TASKS), "no task was scored twice"
    lost = [e for submission in disturbed for e in scene.events(submission) if e.kind == "lease_expired"]
    assert lost, "kills took leases away"
