"""A whole site with entries of every kind, filled through the API as a participant and a scorer would."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from competition.client import LeaderboardClient
from competition.errors import RejectionReason
from competition.records.evaluation import Interval, Outcomes, TaskResult
from competition.records.lifecycle import JobKind
from competition.records.manifest import FileRole, ManifestFile, SubmissionManifest
from competition.records.scoring import (
    ClaimRequest,
    EntryInvalid,
    IntakeVerified,
    JobFinish,
    JobGrant,
    ResultReport,
    ScoringComplete,
    StageReport,
)
from competition.records.submission import SubmissionRegistration, SubmissionRevision
from competition.statistics import clopper_pearson
from leaderboard import migration
from leaderboard.accounts import service as accounts
from leaderboard.accounts.viewer import Scope
from leaderboard.app import create_app
from leaderboard.competitions import service as competitions
from leaderboard.settings import Settings
from tests.leaderboard.web.records import DIGITS
from tests.serving import serve

HOSTILE = '<script>alert("x")</script>'


@dataclass(frozen=True)
class Site:
    """A running site, and the ids of its entries by the names of their methods."""

    url: str
    entries: dict[str, str]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with three scored entries, one half scored, one refused, one withdrawn, and one with a hostile name."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("site"), reaper_seconds=0, hubs=("http://127.0.0.1:1",))
    app = create_app(settings)
    migration.upgrade(app.state.database)
    with app.state.database.writing() as session:
        now = datetime.now(UTC)
        competitions.publish_all(session, ["digits"], now)
        tokens = {
            scope: accounts.create_token(
                session, account=name, scopes=[scope], now=now, expires_at=now + timedelta(days=1)
            )
            for name, scope in (("mina", Scope.SUBMIT), ("scorer", Scope.SCORE))
        }
    with (
        serve(app) as url,
        LeaderboardClient(url, tokens[Scope.SUBMIT]) as participant,
        LeaderboardClient(url, tokens[Scope.SCORE]) as scorer,
    ):
        yield Site(url, _fill(participant, scorer))


def _fill(participant: LeaderboardClient, scorer: LeaderboardClient) -> dict[str, str]:
    entries = {}
    for name, level in (("Careful choice", 0.90), ("Half as careful", 0.89), ("Whole pool", 0.30)):
        entries[name] = _enter(participant, name)
        _take_in(scorer)
        _score(scorer, level)
    for name in ("Forged", HOSTILE):
        entries[name] = _enter(participant, name)
        job = _claim(scorer, JobKind.INTAKE)
        message = f"model.safetensors is not the file of the manifest of {name}."
        report = EntryInvalid(attempt=job.attempt, reason=RejectionReason.DIGEST_MISMATCH, message=message)
        scorer.finish(job, JobFinish(report=report))
    entries["Taken back"] = _enter(participant, "Taken back")
    participant.withdraw(entries["Taken back"])
    entries["Still running"] = _enter(participant, "Still running")
    _take_in(scorer)
    _score(scorer, 0.7, tasks=1)
    return entries


def _enter(participant: LeaderboardClient, name: str) -> str:
    registration = SubmissionRegistration(
        idempotency_key=hashlib.sha256(name.encode()).hexdigest(),
        competition="digits",
        track="filtering",
        scale="nano",
        method_name=name,
        author="Mina & Co",
        hub_endpoint="http://127.0.0.1:1",
        repo="mina/entry",
    )
    ticket = participant.register(registration)
    path = f"digits/{re.sub('[^a-z]', '', name.lower())}"
    participant.set_revision(ticket.submission_id, SubmissionRevision(revision="ab" * 20, path=path))
    return ticket.submission_id


def _claim(scorer: LeaderboardClient, kind: JobKind) -> JobGrant:
    grant = scorer.claim(ClaimRequest(worker="worker-1", kinds=(kind,)))
    assert grant is not None
    return grant


def _take_in(scorer: LeaderboardClient) -> None:
    job = _claim(scorer, JobKind.INTAKE)
    for stage in ("mirrored", "validating"):
        scorer.report_stage(job, StageReport(attempt=job.attempt, stage=stage))
    files = (ManifestFile(path="model.safetensors", role=FileRole.MODEL, size=1, sha256="0" * 64),)
    manifest = SubmissionManifest(
        submission_id=job.submission_id, nonce=job.nonce, competition=job.competition, track=job.track, scale=job.scale,
        competition_version=DIGITS.version, recipe_digest=job.recipe_digest, suite=job.suite,
        suite_digest=job.suite_digest,
        method_name="any", author="any", subset_samples=4200, subset_unique=3900, files=files, code_version="0",
        created_at=datetime.now(UTC),
    )  # fmt: skip
    scorer.finish(job, JobFinish(report=IntakeVerified(attempt=job.attempt, manifest=manifest)))


def _score(scorer: LeaderboardClient, level: float, tasks: int | None = None) -> None:
    """Score an entry on its first ``tasks`` tasks (all when None) with about that share of right answers."""
    job = _claim(scorer, JobKind.SCORING)
    for number, task in enumerate(DIGITS.suite.tasks[:tasks]):
        scorer.report_stage(job, StageReport(attempt=job.attempt, stage=task.id))
        generator = np.random.default_rng([number, round(level * 1000), 1])
        right = (generator.random(task.samples) < level).astype(np.float64)
        low, high = clopper_pearson(int(right.sum()), task.samples)
        value = float(right.mean())
        result = TaskResult(
            task=task.id, metric=task.metric, value=value, metrics={task.metric: value}, samples=task.samples,
            seconds=0.5, interval=Interval(low=low, high=high, method="clopper-pearson"),
            outcomes=(Outcomes.encode(right),),
        )  # fmt: skip
        scorer.report_result(job, ResultReport(attempt=job.attempt, result=result))
    if tasks is None:
        scorer.finish(job, JobFinish(report=ScoringComplete(attempt=job.attempt)))
