"""Eight workers against one leaderboard on PostgreSQL: claims and reports a second, and none of them lost.

    python -m bench scoring_api
    python -m bench.scoring_api [--database URL] [--submissions N] [--workers N]

Every worker is a process with the client of the scorers; the leaderboard is the real command in a process of its own.
Workers walk through all that a submission needs (two claims, the stages, a result a task with the outcome of every
query, two last words) as fast as they are answered, since they fetch and evaluate nothing. All of it shares the
machine, the workers too. Without ``--database``, a PostgreSQL server that syncs every commit to the disk is started.
Afterwards every entry must be scored, with every task accepted once and an unbroken log. The processor time, of the
leaderboard and of the workers, says what a request costs where other work shares the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray

from bench import servers
from competition.canonical import digest
from competition.client import LeaderboardClient
from competition.records.evaluation import Interval, Outcomes, TaskResult
from competition.records.lifecycle import JobKind, Processing, chain_is_intact
from competition.records.manifest import FileRole, ManifestFile, SubmissionManifest
from competition.records.scoring import (
    ClaimRequest,
    IntakeVerified,
    JobFinish,
    JobGrant,
    ResultReport,
    ScoringComplete,
    StageReport,
)
from competition.records.submission import SubmissionRegistration, SubmissionRevision
from competition.rules import Task, find_competition
from competition.statistics import clopper_pearson
from tests.leaderboard import postgres

COMPETITION = "digits"
_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "128MB"}
_HUB = "http://127.0.0.1:1"
_REVISION = "c" * 40


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, or be one of the workers."""
    parser = argparse.ArgumentParser(
        prog="bench.scoring_api", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--database", help="address of an empty PostgreSQL database")
    parser.add_argument("--submissions", type=int, default=80)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--worker", nargs=2, metavar=("URL", "TOKEN"), help=argparse.SUPPRESS)
    given = parser.parse_args([] if arguments is None else arguments)
    if given.worker:
        _work(*given.worker)
        return
    with ExitStack() as stack:
        url = given.database or stack.enter_context(_own_database())
        submit, score = servers.prepare(url, COMPETITION)
        endpoint, api = stack.enter_context(servers.leaderboard(url, COMPETITION))
        alice = stack.enter_context(LeaderboardClient(endpoint, submit))
        entered = [_enter(alice, number) for number in range(given.submissions)]
        before = _processor_seconds(api)
        requests, seconds, worked = _race(given.workers, endpoint, score)
        served = _processor_seconds(api) - before
        _check(alice, entered)
    print(f"{given.workers} workers, {given.submissions} submissions, {os.cpu_count()} cores\n")
    print("| requests | seconds | requests / s | submissions / s | lost | leaderboard CPU ms / request | workers' |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    rates = f"{requests / seconds:.0f} | {given.submissions / seconds:.1f}"
    costs = f"{1000 * served / requests:.1f} | {1000 * worked / requests:.1f}"
    print(f"| {requests:,} | {seconds:.1f} | {rates} | 0 | {costs} |")


@contextmanager
def _own_database() -> Iterator[str]:
    programs = postgres.binaries()
    if programs is None:
        sys.exit("PostgreSQL is not installed here: give the address of an empty database with --database.")
    with postgres.cluster(programs, **_DURABLE) as cluster:
        with psycopg.connect(f"{cluster.address}/postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE bench")
        yield f"{cluster.address}/bench"


def _enter(client: LeaderboardClient, number: int) -> str:
    rules = find_competition(COMPETITION)
    registration = SubmissionRegistration(
        idempotency_key=digest(["bench", number]),
        competition=rules.id,
        track=rules.tracks[0].id,
        scale=rules.scales[0].id,
        method_name=f"method {number}",
        author="a benchmark",
        hub_endpoint=_HUB,
        repo="alice/entry",
    )
    submission = client.register(registration).submission_id
    client.set_revision(submission, SubmissionRevision(revision=_REVISION, path=f"entries/{submission}"))
    return submission


def _processor_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _race(workers: int, endpoint: str, token: str) -> tuple[int, float, float]:
    """Start all workers and say go.

    Answered requests, seconds until the last worker has nothing left to do, and the workers' processor seconds.
    """
    command = [sys.executable, "-m", "bench.scoring_api", "--worker", endpoint, token]
    with ExitStack() as stack:
        started = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(workers)
        ]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        start = time.perf_counter()
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answered = [json.loads(process.communicate()[0]) for process in started]
        seconds = time.perf_counter() - start
    return sum(count for count, _ in answered), seconds, sum(used for _, used in answered)


def _check(client: LeaderboardClient, entered: list[str]) -> None:
    """Nothing is lost and nothing is done twice (raises ``AssertionError``)."""
    tasks = [task.id for task in find_competition(COMPETITION).suite.tasks]
    for submission in entered:
        events = client.events(submission)
        assert chain_is_intact(events)
        assert client.submission(submission).processing is Processing.SCORED
        assert sorted(event.detail["task"] for event in events if event.kind == "task_result") == sorted(tasks)
        assert sum(event.kind == "claimed" for event in events) == 2


class _Worker:
    """One worker; ``requests`` counts the answered ones."""

    def __init__(self, client: LeaderboardClient) -> None:
        self.requests = 0
        self._client = client
        rules = find_competition(COMPETITION)
        outcomes = np.random.default_rng(0)
        self._results = {task.id: _result(task, outcomes.random(task.samples) < 0.8) for task in rules.suite.tasks}

    def turn(self) -> bool:
        """Claim a job and do it; False when there was none."""
        self.requests += 1
        grant = self._client.claim(ClaimRequest(worker=f"bench-{os.getpid()}"))
        if grant is None:
            return False
        if grant.kind is JobKind.INTAKE:
            self._stage(grant, "mirrored")
            self._stage(grant, "validating")
            self._finish(grant, JobFinish(report=IntakeVerified(attempt=grant.attempt, manifest=_manifest(grant))))
            return True
        for task, result in self._results.items():
            self._stage(grant, task)
            self._client.report_result(grant, ResultReport(attempt=grant.attempt, result=result))
            self.requests += 1
        self._finish(grant, JobFinish(report=ScoringComplete(attempt=grant.attempt)))
        return True

    def _stage(self, grant: JobGrant, stage: str) -> None:
        self._client.report_stage(grant, StageReport(attempt=grant.attempt, stage=stage))
        self.requests += 1

    def _finish(self, grant: JobGrant, message: JobFinish) -> None:
        self._client.finish(grant, message)
        self.requests += 1


def _work(endpoint: str, token: str) -> None:
    """Be a worker: say ``ready``, wait for ``go``, work until there is nothing left, say how many requests it took."""
    with LeaderboardClient(endpoint, token) as client:
        worker = _Worker(client)
        print("ready", flush=True)
        sys.stdin.readline()
        before = time.process_time()
        while worker.turn():
            pass
        print(json.dumps([worker.requests, time.process_time() - before]))


def _manifest(grant: JobGrant) -> SubmissionManifest:
    same = ("submission_id", "nonce", "competition", "track", "scale", "recipe_digest", "suite", "suite_digest")
    return SubmissionManifest(
        **{name: getattr(grant, name) for name in same},
        competition_version=1,
        method_name="m",
        author="a",
        subset_samples=1200,
        subset_unique=1000,
        files=(ManifestFile(path="model.safetensors", role=FileRole.MODEL, size=1, sha256="0" * 64),),
        code_version="0.1.0",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def _result(task: Task, right: NDArray[np.bool_]) -> TaskResult:
    count, queries = int(right.sum()), len(right)
    low, high = clopper_pearson(count, queries)
    return TaskResult(
        task=task.id,
        metric=task.metric,
        value=count / queries,
        interval=Interval(low=low, high=high, method="clopper-pearson"),
        metrics={task.metric: count / queries},
        samples=queries,
        seconds=1.0,
        outcomes=(Outcomes.encode(right.astype(np.float64)),),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
