"""A leaderboard under test, and what participants and workers do with it: requests, one method each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from httpx import Response

from competition.records.evaluation import Interval, Outcomes, TaskResult
from competition.records.lifecycle import Event
from competition.records.manifest import FileRole, ManifestFile, SubmissionManifest
from competition.rules import Competition, find_competition
from competition.statistics import clopper_pearson
from leaderboard.accounts import service as accounts
from leaderboard.accounts.viewer import Scope
from leaderboard.app import create_app
from leaderboard.competitions import service as competitions
from leaderboard.database import Database
from leaderboard.settings import Settings

START = datetime(2026, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)
REVISION = "c" * 40
API = "/api/v1"
HUB = "http://127.0.0.1:1"
LEASE = 60


@dataclass
class FakeClock:
    """A clock that stands until it is moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.now += timedelta(seconds=seconds)


def rules() -> Competition:
    """The digits competition, reduced to what these tests count on."""
    return find_competition("digits")


def key(number: int) -> str:
    """An idempotency key."""
    return f"{number:064x}"


@dataclass
class Site:
    """The application with its database, clock and tokens (by account). Requests return the raw response."""

    http: TestClient
    database: Database
    clock: FakeClock
    competition: Competition
    tokens: dict[str, str] = field(default_factory=dict)
    registered: int = 0

    def token(self, account: str, *scopes: Scope, days: float = 3650) -> str:
        """Make a token and remember it for the account."""
        with self.database.writing() as session:
            expires = self.clock() + timedelta(days=days)
            token = accounts.create_token(session, account=account, scopes=scopes, now=self.clock(), expires_at=expires)
        self.tokens[account] = token
        return token

    def publish(self, competition: Competition) -> None:
        """Publish another competition or version."""
        with self.database.writing() as session:
            competitions.publish(session, competition, self.clock())

    def request(
        self, method: str, path: str, account: str | None = None, json: Any = None, token: str | None = None
    ) -> Response:
        """One request to the API, by an account, by whoever has a token, or by the public."""
        shown = self.tokens[account] if account else token
        headers = {"Authorization": f"Bearer {shown}"} if shown else {}
        return self.http.request(method, f"{API}{path}", json=json, headers=headers)

    def get(self, path: str, account: str | None = None) -> Any:
        """The body of a GET that must succeed."""
        response = self.request("GET", path, account)
        assert response.status_code == 200, response.text
        return response.json()

    # --- participants --------------------------------------------------------------------------------------------

    def registration(self, **changes: Any) -> dict[str, Any]:
        """The body of a registration with a fresh key."""
        self.registered += 1
        return {
            "idempotency_key": key(self.registered),
            "competition": self.competition.id,
            "track": self.competition.tracks[0].id,
            "scale": self.competition.scales[0].id,
            "method_name": f"method {self.registered}",
            "author": "Ada",
            "description": "What it does.",
            "hub_endpoint": HUB,
            "repo": "alice/entry",
        } | changes

    def register(self, account: str = "alice", **changes: Any) -> str:
        """A new draft; its id."""
        response = self.request("POST", "/submissions", account, self.registration(**changes))
        assert response.status_code == 200, response.text
        return str(response.json()["submission_id"])

    def revise(self, submission: str, account: str = "alice", revision: str = REVISION) -> Response:
        """Say that the upload is complete."""
        body = {"revision": revision, "path": f"entries/{submission}"}
        return self.request("PUT", f"/submissions/{submission}/revision", account, body)

    def enter(self, account: str = "alice", **changes: Any) -> str:
        """A new entry, received; its id."""
        submission = self.register(account, **changes)
        response = self.revise(submission, account)
        assert response.status_code == 200, response.text
        return submission

    def view(self, submission: str, account: str | None = None) -> Any:
        """The submission as that account sees it."""
        return self.get(f"/submissions/{submission}", account)

    def events(self, submission: str) -> list[Event]:
        """The log of a submission."""
        return [Event.model_validate(event) for event in self.get(f"/submissions/{submission}/events")]

    def standings(self, account: str | None = None, competition: Competition | None = None) -> Any:
        """The standings of the first track and scale."""
        shown = competition or self.competition
        query = f"track={shown.tracks[0].id}&scale={shown.scales[0].id}"
        return self.get(f"/competitions/{shown.id}/standings?{query}", account)

    # --- workers -------------------------------------------------------------------------------------------------

    def claim(self, account: str = "worker", kinds: Sequence[str] = ("intake", "scoring")) -> Any:
        """A grant, or None."""
        response = self.request("POST", "/scoring/claims", account, {"worker": "w", "kinds": list(kinds)})
        assert response.status_code in {200, 204}, response.text
        return response.json() if response.status_code == 200 else None

    def say(self, grant: Any, what: str, **fields: Any) -> Response:
        """A message about a job: heartbeat, stage, results or finish (whose fields are the report's).

        It is said with the grant's own token.
        """
        body: dict[str, Any] = {"attempt": grant["attempt"], **fields}
        if what == "finish":
            body = {"report": body}
        return self.request("POST", f"/scoring/jobs/{grant['job_id']}/{what}", json=body, token=grant["token"])

    def must(self, grant: Any, what: str, **fields: Any) -> None:
        """The same, and it must be accepted."""
        response = self.say(grant, what, **fields)
        assert response.status_code == 204, response.text

    def verify(self, grant: Any) -> None:
        """All of a successful intake."""
        self.must(grant, "stage", stage="mirrored")
        self.must(grant, "stage", stage="validating")
        self.must(grant, "finish", outcome="verified", manifest=manifest(grant))

    def score(self, grant: Any, accuracy: float = 0.8) -> None:
        """All of a successful scoring."""
        for task in self.tasks(grant):
            self.must(grant, "stage", stage=task.id)
            self.must(grant, "results", result=result(task.id, task.metric, accuracy))
        self.must(grant, "finish", outcome="scored")

    def tasks(self, grant: Any) -> list[Any]:
        """What a worker still has to evaluate."""
        done = set(grant["finished_tasks"])
        with self.database.reading() as session:
            document = competitions.get(session, grant["competition"], clock=self.clock).document
        return [task for task in document.suite.tasks if task.id not in done]

    def scored(self, accuracy: float = 0.8, account: str = "alice", **changes: Any) -> str:
        """A new entry, taken all the way; its id. Nothing else may be waiting."""
        submission = self.enter(account, **changes)
        self.verify(self.claim())
        self.score(self.claim(), accuracy)
        return submission


def manifest(grant: Any, **changes: Any) -> Any:
    """The manifest of a granted submission, as JSON."""
    same = ("submission_id", "nonce", "competition", "track", "scale", "recipe_digest", "suite", "suite_digest")
    fields = {name: grant[name] for name in same}
    made = SubmissionManifest(
        **fields,
        competition_version=1,
        method_name="m",
        author="a",
        subset_samples=1200,
        subset_unique=1000,
        files=(ManifestFile(path="model.safetensors", role=FileRole.MODEL, size=1, sha256="0" * 64),),
        code_version="0.1.0",
        created_at=START,
    )
    return made.model_dump(mode="json") | changes


def result(task: str, metric: str, accuracy: float, *, queries: int = 200, seed: int = 0) -> Any:
    """A task's result with outcomes of that accuracy, as JSON."""
    right = round(accuracy * queries)
    outcomes = np.zeros(queries)
    outcomes[np.random.default_rng(seed).permutation(queries)[:right]] = 1.0
    low, high = clopper_pearson(right, queries)
    made = TaskResult(
        task=task,
        metric=metric,
        value=right / queries,
        interval=Interval(low=low, high=high, method="clopper-pearson"),
        metrics={metric: right / queries, "undefined": None},
        samples=queries,
        seconds=1.5,
        outcomes=(Outcomes.encode(outcomes),),
    )
    return made.model_dump(mode="json")


@contextmanager
def open_site(url: str, **changes: Any) -> Iterator[Site]:
    """A site over a migrated database. ``changes`` are settings; the reaper runs only at claims."""
    clock = FakeClock()
    options = {
        "hubs": HUB,
        "lease_seconds": LEASE,
        "max_attempts": 3,
        "backoff_seconds": 10.0,
        "reaper_seconds": 0,
    } | changes
    app = create_app(Settings(database_url=url, **options), clock=clock)
    competition = rules()
    site = Site(TestClient(app, raise_server_exceptions=False), app.state.database, clock, competition)
    site.publish(competition)
    site.token("alice", Scope.SUBMIT)
    site.token("bob", Scope.SUBMIT)
    site.token("worker", Scope.SCORE)
    site.token("worker-two", Scope.SCORE)
    site.token("organiser", Scope.ADMIN)
    try:
        yield site
    finally:
        site.http.close()
        app.state.database.close()
