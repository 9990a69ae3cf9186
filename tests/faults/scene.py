"""A leaderboard, a Hub and scorers, all real, with proxies in front of the servers; what must hold after a fault."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from competition.canonical import digest
from competition.client import LeaderboardClient
from competition.records.lifecycle import Event, JobKind, Processing, chain_is_intact
from competition.records.manifest import SubmissionManifest
from competition.records.submission import SubmissionRegistration, SubmissionRevision, SubmissionTicket
from leaderboard.database import Database
from leaderboard.models import Evaluation, Job, JobState, TaskOutcome
from leaderboard.submissions.lifecycle import TRANSITIONS
from scorer.mirror import Mirror, MirroredEntry, Source
from tests.competition.verification.entries import TASKS, TinyEntry, tiny_weights
from tests.faults.nursery import Nursery, Process
from tests.faults.proxy import Proxy
from tests.scorer.conftest import MovableClock, RunningHub, Workplace

LEASE = 60
LEASE_ENDED = timedelta(seconds=LEASE + 1)
REVISION = "c" * 40
#: Events of the log that only a worker with the live lease can have caused.
_WORKERS = {"task_result", "platform_failure"}
_ENDS_ATTEMPT = {"lease_expired", "platform_failure", "dead_lettered", "requeued"}


@dataclass
class Scene:
    """Everything that a fault may hit. ``api`` and ``hub_proxy`` are what workers speak to."""

    database_url: str
    api: Proxy
    hub: RunningHub
    hub_proxy: Proxy
    participant: LeaderboardClient
    scorer_token: str
    clock: MovableClock
    workplace: Workplace
    nursery: Nursery
    folder: Path
    made: TinyEntry
    clients: ExitStack
    submissions: list[str] = field(default_factory=list)

    # --- participants --------------------------------------------------------------------------------------------

    def enter(
        self,
        repo: str = "alice/entries",
        weights: int = 0,
        spoil: Callable[[TinyEntry], object] = lambda _entry: None,
    ) -> str:
        """Enter an entry by way of the Hub, as a participant does; the submission's id. ``weights`` is their seed."""
        ticket = self._register(repo)
        path = f"tiny/filtering/nano/{ticket.submission_id}"
        entry = self._sealed(ticket, weights)
        spoil(entry)
        revision = self.hub.upload(entry, repo, path)
        self.participant.set_revision(ticket.submission_id, SubmissionRevision(revision=revision, path=path))
        return ticket.submission_id

    def enter_mirrored(self) -> str:
        """Enter an entry whose files lie in the mirror already: for faults that the Hub has no part in."""
        ticket = self._register("alice/mirrored")
        entry, path = self._sealed(ticket), f"tiny/filtering/nano/{ticket.submission_id}"
        manifest = SubmissionManifest.model_validate_json((entry.folder / "submission.json").read_bytes())
        mirror = Mirror(Path(self.workplace.environment["DATACUP_MIRROR"]))
        for file in manifest.files:
            if not mirror.holds(file.sha256, file.size):
                mirror.adopt(entry.folder / file.path, file.sha256)
        source = Source(endpoint=self.hub_proxy.url, repo="alice/mirrored", revision=REVISION, path=path)
        mirror.remember(ticket.submission_id, MirroredEntry(source=source, manifest=manifest))
        self.participant.set_revision(ticket.submission_id, SubmissionRevision(revision=REVISION, path=path))
        return ticket.submission_id

    def _register(self, repo: str) -> SubmissionTicket:
        registration = SubmissionRegistration(
            idempotency_key=digest([str(self.folder), len(self.submissions)]),
            competition="tiny",
            track="filtering",
            scale="nano",
            method_name=f"method {len(self.submissions)}",
            author="a tester",
            hub_endpoint=self.hub_proxy.url,
            repo=repo,
        )
        ticket = self.participant.register(registration)
        self.submissions.append(ticket.submission_id)
        return ticket

    def _sealed(self, ticket: SubmissionTicket, weights: int = 0) -> TinyEntry:
        folder = self.folder / ticket.submission_id
        shutil.copytree(self.made.folder, folder)
        entry = TinyEntry(folder, ticket.submission_id, ticket.nonce)
        if weights:
            entry.save_weights(tiny_weights(weights))
        return entry.seal()

    def state(self, submission: str) -> Processing:
        """Where a submission stands."""
        return self.participant.submission(submission).processing

    # --- workers -------------------------------------------------------------------------------------------------

    def client(self) -> LeaderboardClient:
        """A scorer's connection, without a scorer, straight to the proxy."""
        return self.clients.enter_context(LeaderboardClient(self.api.url, self.scorer_token))

    def worker(self, *arguments: str, **settings: object) -> Process:
        """``datacup-scorer run --json`` in a process of its own."""
        environment = {
            **self.workplace.environment,
            "DATACUP_ENDPOINT": self.api.url,
            "DATACUP_TOKEN": self.scorer_token,
            "DATACUP_POLL_SECONDS": "0.1",
            "DATACUP_THREADS": "1",
            **{f"DATACUP_{name.upper()}": str(value) for name, value in settings.items()},
        }
        return self.nursery.start("scorer", ["run", "--json", *arguments], environment, self.folder)

    def drain(self, **settings: object) -> list[dict[str, Any]]:
        """An undisturbed worker does what is left; what it told."""
        worker = self.worker("--drain", **settings)
        worker.wait()
        return worker.events()

    def lose_lease(self) -> None:
        """Time passes until every lease of now has ended."""
        self.clock.ahead += LEASE_ENDED

    # --- what must hold ------------------------------------------------------------------------------------------

    def events(self, submission: str) -> list[Event]:
        """The log of a submission."""
        return self.participant.events(submission)

    def results(self, submission: str) -> list[tuple[str, int]]:
        """Accepted results in order, with the attempt that brought each."""
        found = [event.detail for event in self.events(submission) if event.kind == "task_result"]
        return [(detail["task"], detail["attempt"]) for detail in found]

    def settled(self, expected: Processing = Processing.SCORED, submissions: Sequence[str] | None = None) -> None:
        """Every accepted submission has ended once, as ``expected``; nothing was done twice; every log is whole."""
        database = Database(self.database_url)
        try:
            for submission in self.submissions if submissions is None else submissions:
                events = self.events(submission)
                _check_log(events, expected)
                assert self.state(submission) is expected
                _check_rows(database, submission, events, expected)
        finally:
            database.close()


def _check_log(events: list[Event], expected: Processing) -> None:
    """The chain verifies; moves are allowed ones and end once; only the live attempt was heard."""
    assert chain_is_intact(events)
    moves = [event for event in events if event.after and event.kind not in {"visibility", "eligibility"}]
    states = [Processing(event.after or "") for event in moves]
    for before, after in itertools.pairwise(states):
        assert after is before or after in TRANSITIONS[before], f"{before} became {after}"
    assert [state for state in states if state.terminal] == [expected], "an end is reached exactly once"
    assert states[-1] is expected
    live: int | None = None
    seen: Counter[tuple[str, int, str]] = Counter()
    kind = ""
    for event in events:
        attempt = event.detail.get("attempt")
        if event.kind == "claimed":
            assert live is None, "a job is not leased to two workers"
            live, kind = attempt, event.detail["job"]
        elif event.kind in _WORKERS or (event.kind == "processing" and attempt is not None):
            assert attempt == live, f"attempt {attempt} was heard while {live} was the live one"
            if "task" in event.detail:
                seen[event.kind, attempt, event.detail["task"]] += 1
        ended = event.kind == "processing" and event.after in {"queued", "scored", "invalid"}
        if event.kind in _ENDS_ATTEMPT or (ended and kind):
            live = None
    assert max(seen.values(), default=1) == 1, f"no task is begun or scored twice under one attempt: {seen}"
    results = Counter(event.detail["task"] for event in events if event.kind == "task_result")
    assert max(results.values(), default=1) == 1, "an accepted result is never replaced"


def _check_rows(database: Database, submission: str, events: list[Event], expected: Processing) -> None:
    """The database says what the log says."""
    with database.reading() as session:
        jobs = session.scalars(select(Job).where(Job.submission_id == submission).order_by(Job.id)).all()
        assert not [job.id for job in jobs if job.state in {JobState.READY, JobState.LEASED}], "nothing is left to do"
        claims = Counter(event.detail["job"] for event in events if event.kind == "claimed")
        for kind in JobKind:
            assert claims[kind.value] == sum(job.attempt for job in jobs if job.kind is kind)
        outcomes = session.scalars(
            select(TaskOutcome).join(Evaluation).where(Evaluation.submission_id == submission).order_by(TaskOutcome.id)
        ).all()
        told = [
            (event.detail["task"], event.detail["attempt"], event.detail["result_sha256"])
            for event in events
            if event.kind == "task_result"
        ]
        assert [(row.task, row.attempt, row.digest) for row in outcomes] == told
        published = session.scalars(select(Evaluation.published_at).where(Evaluation.submission_id == submission)).all()
        if expected is Processing.SCORED:
            done = [job.kind for job in jobs if job.state is JobState.DONE]
            assert done == [JobKind.INTAKE, JobKind.SCORING], "each job is finished once"
            assert [row.task for row in outcomes] == list(TASKS)
            assert len(published) == 1
            assert published[0] is not None
        else:
            assert not any(published)
