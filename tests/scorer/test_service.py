"""The whole service with a real leaderboard and a real Hub over loopback HTTP: nothing is lost or done twice."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from competition.errors import AuthenticationError, RejectionReason
from competition.records.lifecycle import Processing, Trust
from competition.rules import Competition
from scorer.children import Children
from scorer.settings import ScorerSettings
from scorer.work import Mode, Observer, Service
from tests.competition.verification.entries import TASKS, TinyEntry, tiny_weights
from tests.scorer.conftest import Board, Enter, RunningHub, Workplace
from tests.scorer.processes import alive

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def make_service(
    board: Board, workplace: Workplace, observe: Observer = lambda _event: None, **settings: Any
) -> Service:
    folders = {name.removeprefix("DATACUP_").lower(): value for name, value in workplace.environment.items()}
    chosen = ScorerSettings(**{"worker": "tester", "poll_seconds": 0.05, "threads": 1, **folders, **settings})
    return Service(chosen, board.client(), Children(), observe=observe)


def claims_of(board: Board, submission: str) -> list[tuple[str, int]]:
    """Accepted results in order, with the attempt that brought them."""
    events = board.participant.events(submission)
    return [(event.detail["task"], event.detail["attempt"]) for event in events if event.kind == "task_result"]


def test_an_entry_is_fetched_verified_and_scored_with_the_official_numbers(
    board: Board, workplace: Workplace, enter: Enter, competition: Competition, tmp_path: Path
) -> None:
    submission = enter()
    events: list[dict[str, Any]] = []
    make_service(board, workplace, events.append).run(Mode.DRAIN)
    view = board.participant.submission(submission)
    assert view.processing is Processing.SCORED
    assert view.trust is Trust.RE_EVALUATED
    assert (view.subset_samples, view.subset_unique) == (23, 20)
    told = [
        event.detail["test_image_shares"] for event in board.participant.events(submission) if event.after == "queued"
    ]
    assert told == [dict.fromkeys(TASKS, 0.0)]

    from competition.evaluation.run import evaluate_suite

    model = tmp_path / "entry-0" / "model.safetensors"
    official = evaluate_suite(model, competition, competition.recipes[0], workplace.root / "evaluation")
    assert {result.task: result.score.value for result in view.results} == {
        result.task: pytest.approx(result.value) for result in official.results
    }
    assert [event["event"] for event in events if event["event"] != "checking"] == [
        *("claimed", "mirrored", "stage", "stage", "verified", "claimed"),
        *("stage", "task") * 3,
        "scored",
    ]
    assert {event["submission"] for event in events} == {submission}
    json.dumps(events)


def test_a_checkpoint_that_does_not_match_its_manifest_ends_invalid(
    board: Board, workplace: Workplace, enter: Enter
) -> None:
    def cheat(entry: TinyEntry) -> None:
        other = TinyEntry(entry.folder.parent / "other").build(seed=99)
        (other.folder / "model.safetensors").replace(entry.folder / "model.safetensors")

    submission = enter(damage=cheat)
    make_service(board, workplace).run(Mode.DRAIN)
    view = board.participant.submission(submission)
    assert view.processing is Processing.INVALID
    assert view.rejection is not None
    assert view.rejection.reason is RejectionReason.DIGEST_MISMATCH
    assert view.rejection.message.startswith("model.safetensors has sha256")
    assert view.results == []


def test_finite_weights_whose_features_overflow_end_invalid(board: Board, workplace: Workplace, enter: Enter) -> None:
    def overflow(entry: TinyEntry) -> None:
        entry.save_weights({name: np.full_like(weight, 3e38) for name, weight in tiny_weights().items()})
        entry.seal()

    submission = enter(damage=overflow)
    make_service(board, workplace).run(Mode.DRAIN)
    rejection = board.participant.submission(submission).rejection
    assert rejection is not None
    assert rejection.reason is RejectionReason.MODEL_NOT_FINITE
    assert TASKS[0] in rejection.message


def test_entries_on_a_hub_that_is_not_listed_are_not_fetched(
    board: Board, workplace: Workplace, enter: Enter, hub: RunningHub
) -> None:
    submission = enter()
    hub.gate.requests.clear()
    make_service(board, workplace, hubs="https://huggingface.co, https://hub.example.org").run(Mode.DRAIN)
    rejection = board.participant.submission(submission).rejection
    assert rejection is not None
    assert "not fetched from http://127.0.0.1" in rejection.message
    assert hub.gate.requests == []


def test_a_repository_that_is_gone_ends_invalid(
    board: Board, workplace: Workplace, enter: Enter, hub: RunningHub
) -> None:
    submission = enter()
    hub.api().delete_repo("alice/entries")
    make_service(board, workplace).run(Mode.DRAIN)
    rejection = board.participant.submission(submission).rejection
    assert rejection is not None
    assert rejection.reason is RejectionReason.REPOSITORY_NOT_FOUND


def test_a_verified_entry_that_is_gone_from_mirror_and_hub_is_no_fault_of_the_entry(
    board: Board, workplace: Workplace, enter: Enter, hub: RunningHub
) -> None:
    submission = enter()
    service = make_service(board, workplace)
    service.run(Mode.ONCE)
    assert board.participant.submission(submission).processing is Processing.QUEUED
    shutil.rmtree(workplace.environment["DATACUP_MIRROR"])
    hub.api().delete_repo("alice/entries")
    make_service(board, workplace).run(Mode.ONCE)
    view = board.participant.submission(submission)
    assert (view.processing, view.rejection) == (Processing.QUEUED, None)
    failures = [event for event in board.participant.events(submission) if event.kind == "platform_failure"]
    assert "not in this scorer's mirror" in failures[0].detail["message"]


def test_a_hub_that_is_down_is_waited_for(board: Board, workplace: Workplace, enter: Enter, hub: RunningHub) -> None:
    submission = enter()
    hub.gate.status = 503
    service = make_service(board, workplace)
    service.run(Mode.ONCE)
    assert board.participant.submission(submission).processing is Processing.RECEIVED
    failures = [event for event in board.participant.events(submission) if event.kind == "platform_failure"]
    assert "HTTP 503" in failures[0].detail["message"]
    hub.gate.status = None
    service.run(Mode.DRAIN)
    assert board.participant.submission(submission).processing is Processing.SCORED


def test_a_fault_of_the_platform_that_does_not_end_is_given_up_and_named(
    board: Board, workplace: Workplace, enter: Enter
) -> None:
    submission = enter()
    (workplace.root / "evaluation" / TASKS[1] / "test" / "0.tar").write_bytes(b"damaged" * 1000)
    make_service(board, workplace).run(Mode.DRAIN)
    view = board.participant.submission(submission)
    assert view.processing is Processing.FAILED
    assert view.failure is not None
    assert TASKS[1] in view.failure
    assert claims_of(board, submission) == [(TASKS[0], 1)], "what was scored stays scored"


def test_a_request_to_stop_hands_the_job_back_between_two_tasks(
    board: Board, workplace: Workplace, enter: Enter
) -> None:
    submission = enter()

    def stop_after_a_task(event: dict[str, Any]) -> None:
        if event["event"] == "task":
            service.stop.request()

    service = make_service(board, workplace, stop_after_a_task)
    service.run(Mode.FOREVER)
    assert claims_of(board, submission) == [(TASKS[0], 1)]
    assert board.participant.submission(submission).processing is Processing.QUEUED
    make_service(board, workplace).run(Mode.DRAIN)
    assert claims_of(board, submission) == [(TASKS[0], 1), (TASKS[1], 2), (TASKS[2], 2)]
    assert board.participant.submission(submission).processing is Processing.SCORED


def test_a_worker_whose_lease_has_ended_changes_nothing_and_goes_on(
    board: Board, workplace: Workplace, enter: Enter
) -> None:
    submission = enter()
    events: list[str] = []

    def oversleep(event: dict[str, Any]) -> None:
        events.append(event["event"])
        if event["event"] == "task" and events.count("task") == 1:
            board.clock.ahead += timedelta(minutes=1)

    make_service(board, workplace, oversleep).run(Mode.DRAIN)
    assert events.count("abandoned") == 1
    assert board.participant.submission(submission).processing is Processing.SCORED
    assert claims_of(board, submission) == [(TASKS[0], 1), (TASKS[1], 2), (TASKS[2], 2)]


def test_a_token_that_is_not_accepted_ends_the_service(board: Board, workplace: Workplace) -> None:
    board.scorer_token = "dcp_unknown"
    with pytest.raises(AuthenticationError):
        make_service(board, workplace).run(Mode.FOREVER)


def test_two_workers_share_the_entries_and_do_none_twice(board: Board, workplace: Workplace, enter: Enter) -> None:
    submissions = [enter(seed) for seed in range(4)]
    services = [make_service(board, workplace, worker=f"worker-{name}") for name in "ab"]
    threads = [threading.Thread(target=service.run, args=(Mode.DRAIN, 2)) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for submission in submissions:
        assert board.participant.submission(submission).processing is Processing.SCORED
        assert [task for task, _ in claims_of(board, submission)] == list(TASKS)
        assert sum(line.startswith("claimed") for line in board.story(submission)) == 2


@contextlib.contextmanager
def running_scorer(board: Board, workplace: Workplace, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The real command in a process of its own, which does not outlive the block."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DATACUP_")},
        **workplace.environment,
        "DATACUP_ENDPOINT": board.url,
        "DATACUP_TOKEN": board.scorer_token,
        "DATACUP_POLL_SECONDS": "0.1",
        "DATACUP_THREADS": "1",
    }
    command = [sys.executable, "-c", "from scorer.cli import main; main()", "run", *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def descendants(pid: int) -> list[int]:
    """The processes below ``pid``."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [below for child in found for below in descendants(child)]


def test_killed_between_two_tasks_and_started_again_it_loses_and_repeats_nothing(
    board: Board, workplace: Workplace, enter: Enter
) -> None:
    submission = enter()
    with running_scorer(board, workplace) as first:
        orphans: list[int] = []

        def kill_after_the_first_result(request: str) -> None:
            if request.endswith("/results") and first.poll() is None:
                orphans.extend(descendants(first.pid))
                first.send_signal(signal.SIGKILL)

        board.gate.after = kill_after_the_first_result
        assert first.wait(100) == -signal.SIGKILL
        board.gate.after = None
    assert claims_of(board, submission) == [(TASKS[0], 1)]
    assert len(orphans) >= 2
    wait_until(lambda: not any(alive(pid) for pid in orphans))

    with running_scorer(board, workplace, "--json") as second:
        wait_until(lambda: board.participant.submission(submission).processing is Processing.SCORED)
        second.send_signal(signal.SIGTERM)
        lines, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    events = [json.loads(line) for line in lines.splitlines()]
    assert [event["task"] for event in events if event["event"] == "task"] == [TASKS[1], TASKS[2]]
    assert len(board.participant.submission(submission).results) == 3
    assert claims_of(board, submission) == [(TASKS[0], 1), (TASKS[1], 2), (TASKS[2], 2)]
    told = [line.split()[0] for line in board.story(submission)]
    assert [kind for kind in told if kind in {"claimed", "lease_expired", "task_result"}] == [
        *("claimed", "claimed", "task_result"),
        *("lease_expired", "claimed", "task_result", "task_result"),
    ]
