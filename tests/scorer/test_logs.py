"""Every line about a job says whose it is: also those that tell of what nobody had planned."""

from __future__ import annotations

import socket
import time
from typing import Any

import structlog

from competition.client import LeaderboardClient
from competition.records.scoring import JobGrant, PlatformFailure
from scorer.jobs import Job
from scorer.lease import Lease
from scorer.work import _outcome

DIGEST = "0" * 64
GRANT = JobGrant.model_validate(
    {
        "job_id": 7, "kind": "scoring", "attempt": 3, "token": "a-token-of-the-job", "lease_seconds": 60,
        "submission_id": "sub-1", "nonce": DIGEST,
        "competition": "tiny", "competition_digest": DIGEST, "track": "filtering", "scale": "nano",
        "recipe_digest": DIGEST, "suite": "tiny@1", "suite_digest": DIGEST, "hub_endpoint": "http://127.0.0.1:1",
        "repo": "alice/entry", "revision": "c" * 40, "path": "p", "manifest": None, "finished_tasks": (),
    }
)  # fmt: skip
IDENTITY = {"submission": "sub-1", "job": 7, "kind": "scoring", "attempt": 3}


def _nobody() -> LeaderboardClient:
    """A client of a leaderboard that is away."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    return LeaderboardClient(f"http://127.0.0.1:{port}", "token", attempts=1)


def _carries(line: Any) -> bool:
    return {name: line.get(name) for name in IDENTITY} == IDENTITY


def test_a_heartbeat_that_fails_is_said_to_be_of_its_submission_and_attempt() -> None:
    with structlog.testing.capture_logs() as lines, _nobody() as client, Lease(client, GRANT, 0.01):
        end = time.monotonic() + 30
        while not lines and time.monotonic() < end:
            time.sleep(0.01)
    failed = [line for line in lines if line["event"] == "heartbeat_failed"]
    assert failed
    assert all(_carries(line) for line in failed)


def test_a_bug_is_logged_with_its_submission_and_attempt() -> None:
    broken: Any = None  # no settings: the first thing that the job asks of them is a bug
    with structlog.testing.capture_logs() as lines, _nobody() as client:
        outcome = _outcome(Job(GRANT, client, broken, broken, broken, broken, broken))
    assert isinstance(outcome, PlatformFailure)
    (line,) = [line for line in lines if line["event"] == "unexpected_error"]
    assert _carries(line)
