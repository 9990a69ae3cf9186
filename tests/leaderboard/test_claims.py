"""Claims under contention, and the walk of many workers at once: nothing is lost, nothing is done twice."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text, update

from competition.client import LeaderboardClient
from competition.errors import ConflictError
from competition.records.evaluation import TaskResult
from competition.records.lifecycle import Event, JobKind, Processing, chain_is_intact
from competition.records.manifest import SubmissionManifest
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
from leaderboard.accounts.viewer import Act, Viewer
from leaderboard.models import Job, JobState, Submission
from leaderboard.scoring import queue, service
from leaderboard.scoring.queue import Patience
from leaderboard.submissions.lifecycle import TRANSITIONS
from tests.leaderboard.site import LEASE, REVISION, Site, manifest, result
from tests.serving import serve

RACERS = 50
PATIENCE = Patience(lease=LEASE, tries=3, backoff=10.0)


def test_racing_claimers_get_distinct_jobs(site: Site) -> None:
    entered = [site.enter() for _ in range(RACERS - 10)]
    with site.database.reading() as session:
        worker = session.scalar(text("SELECT id FROM accounts WHERE name = 'worker'"))
        token = session.scalar(text("SELECT id FROM tokens WHERE account_id = :worker"), {"worker": worker})
    viewer = Viewer(account_id=worker, account="worker", token_id=token)
    ready = threading.Barrier(RACERS)

    def claim(_: int) -> JobGrant | None:
        ready.wait()
        with site.database.writing() as session:
            return service.claim(session, ClaimRequest(worker="w"), viewer, site.clock(), PATIENCE)

    with ThreadPoolExecutor(RACERS) as pool:
        grants = list(pool.map(claim, range(RACERS)))
    won = Counter(grant.submission_id for grant in grants if grant is not None)
    assert won == Counter(entered)


def test_the_oldest_entry_comes_first(site: Site) -> None:
    entered = [site.enter() for _ in range(3)]
    assert [site.claim()["submission_id"] for _ in range(3)] == entered


def test_a_worker_gets_only_the_kinds_it_asks_for(sqlite_site: Site) -> None:
    sqlite_site.enter()
    assert sqlite_site.claim(kinds=["scoring"]) is None
    sqlite_site.verify(sqlite_site.claim(kinds=["intake"]))
    assert sqlite_site.claim(kinds=["intake"]) is None
    assert sqlite_site.claim(kinds=["scoring"])["kind"] == "scoring"


def test_two_writers_of_one_submission_do_not_both_win(site: Site) -> None:
    submission = site.enter()
    grant = site.claim()
    replies: list[int] = []

    def finish() -> None:
        replies.append(site.say(grant, "finish", outcome="verified", manifest=manifest(grant)).status_code)

    def withdraw() -> None:
        replies.append(site.request("POST", f"/submissions/{submission}/withdraw", "alice").status_code)

    threads = [threading.Thread(target=act) for act in (finish, withdraw)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies) in ([200, 204], [200, 409])
    view = site.view(submission, "alice")
    assert (view["processing"], view["visibility"]) == ("cancelled", "withdrawn")
    assert chain_is_intact(site.events(submission))
    assert site.claim() is None


@pytest.mark.parametrize("state", [Processing.VALIDATING, Processing.RUNNING])
def test_a_submission_that_lost_its_job_is_given_another(site: Site, state: Processing) -> None:
    submission = site.enter()
    if state is Processing.RUNNING:
        site.verify(site.claim())
    grant = site.claim()
    site.must(grant, "stage", stage="validating" if state is Processing.VALIDATING else site.tasks(grant)[0].id)
    with site.database.writing() as session:
        session.execute(update(Job).where(Job.submission_id == submission).values(state=JobState.DEAD))
    again = site.claim()
    assert (again["submission_id"], again["kind"]) == (submission, grant["kind"])
    assert chain_is_intact(site.events(submission))
    assert "requeued" in [event.kind for event in site.events(submission)]


def test_a_change_based_on_an_old_look_is_refused(site: Site) -> None:
    submission = site.enter()
    with site.database.writing() as session:
        row = session.get_one(Submission, submission)
        session.execute(
            update(Submission).where(Submission.id == submission).values(version=Submission.version + 1),
            execution_options={"synchronize_session": False},
        )
        with pytest.raises(ConflictError, match="in the meantime"):
            queue.lifecycle.move(session, row, Processing.MIRRORED, Act("worker", site.clock()))


def test_the_client_of_kit_and_scorer_speaks_this_api(site: Site) -> None:
    """A whole life over real HTTP, through ``competition.client``."""
    rules = site.competition
    with (
        serve(site.http.app) as address,
        LeaderboardClient(address, site.tokens["alice"]) as alice,
        LeaderboardClient(address, site.tokens["worker"]) as worker,
        LeaderboardClient(address) as public,
    ):
        ticket = alice.register(SubmissionRegistration.model_validate(site.registration()))
        revision = SubmissionRevision(revision=REVISION, path="entries/one")
        assert alice.set_revision(ticket.submission_id, revision).processing is Processing.RECEIVED
        intake = worker.claim(ClaimRequest(worker="w", kinds=(JobKind.INTAKE,)))
        assert intake is not None
        assert intake.nonce == ticket.nonce
        worker.report_stage(intake, StageReport(attempt=1, stage="mirrored"))
        made = SubmissionManifest.model_validate(manifest(intake.model_dump()))
        worker.finish(intake, JobFinish(report=IntakeVerified(attempt=1, manifest=made)))
        scoring = worker.claim(ClaimRequest(worker="w"))
        assert scoring is not None
        assert scoring.manifest == made
        for task in rules.suite.tasks:
            one = TaskResult.model_validate(result(task.id, task.metric, 0.7))
            worker.report_result(scoring, ResultReport(attempt=1, result=one))
        worker.finish(scoring, JobFinish(report=ScoringComplete(attempt=1)))
        assert worker.claim(ClaimRequest(worker="w")) is None
        assert public.submission(ticket.submission_id).processing is Processing.SCORED
        assert public.submissions(account="alice").items[0].id == ticket.submission_id
        assert chain_is_intact(public.events(ticket.submission_id))
        board = public.standings(rules.id, track=rules.tracks[0].id, scale=rules.scales[0].id)
        assert [row.rank for row in board.rows] == [1]
        assert alice.withdraw(ticket.submission_id).visibility.value == "withdrawn"


class Walk:
    """Participants and workers who do what they like, in any order; some of it must be refused."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        self.site = site
        self.chance = chance
        self.submissions: list[str] = []
        self.grants: list[Any] = []

    def step(self, action: str) -> None:
        """One act; an answer of 5xx is a bug, a refusal is not."""
        acts: dict[str, Callable[[], None]] = {
            "enter": lambda: self.submissions.append(self.site.enter()),
            "draft": lambda: self.submissions.append(self.site.register()),
            "revise": lambda: self._try("PUT", "revision", {"revision": REVISION, "path": "x"}),
            "withdraw": lambda: self._try("POST", "withdraw", None),
            "claim": self._claim,
            "sleep": lambda: self.site.clock.advance(self.chance.choice([5, 30, LEASE + 1])),
            "heartbeat": lambda: self._say("heartbeat"),
            "stage": lambda: self._say(
                "stage", stage=self.chance.choice([*self._task_ids(), "mirrored", "validating"])
            ),
            "result": self._result,
            "verified": lambda: self._finish("verified"),
            "scored": lambda: self._finish("scored"),
            "invalid": lambda: self._say("finish", outcome="invalid", reason="file_missing", message="gone"),
            "failed": lambda: self._say("finish", outcome="failed", message="fault"),
        }
        acts[action]()

    def drain(self) -> None:
        """Honest workers finish what is left, and every entry reaches an end."""
        idle = 0
        while idle < 2:  # a job that was just taken back waits once more
            self.site.clock.advance(LEASE + 3600)
            grant = self.site.claim()
            idle = idle + 1 if grant is None else 0
            if grant is None:
                continue
            if grant["kind"] == "intake":
                self.site.verify(grant)
            else:
                self.site.score(grant)
        for submission in self.submissions:
            state = Processing(self.site.view(submission, "alice")["processing"])
            assert state.terminal or state is Processing.DRAFT

    def check(self) -> None:
        """Every log is a chain of allowed transitions that ends where the submission is."""
        for submission in self.submissions:
            raw = self.site.get(f"/submissions/{submission}/events", "alice")
            events = [Event.model_validate(event) for event in raw]
            assert chain_is_intact(events)
            moves = [(e.before, e.after) for e in events if e.after and e.kind not in {"visibility", "eligibility"}]
            states = [Processing(after) for _, after in moves if after]
            for before, after in itertools.pairwise(states):
                assert after is before or after in TRANSITIONS[before]
            assert states[-1].value == self.site.view(submission, "alice")["processing"]
            results = [event.detail["task"] for event in events if event.kind == "task_result"]
            assert len(results) == len(set(results)), "no task is scored twice"

    def _task_ids(self) -> list[str]:
        return [task.id for task in self.site.competition.suite.tasks]

    def _try(self, method: str, what: str, body: Any) -> None:
        if self.submissions:
            path = f"/submissions/{self.chance.choice(self.submissions)}/{what}"
            assert self.site.request(method, path, "alice", body).status_code < 500

    def _claim(self) -> None:
        grant = self.site.claim(self.chance.choice(["worker", "worker-two"]))
        if grant is not None:
            self.grants.append(grant)

    def _say(self, what: str, **fields: Any) -> None:
        if self.grants:
            grant = self.chance.choice(self.grants)
            assert self.site.say(grant, what, **fields).status_code in {204, 404, 409, 422}

    def _finish(self, outcome: str) -> None:
        if self.grants:
            grant = self.chance.choice(self.grants)
            extra = {"manifest": manifest(grant)} if outcome == "verified" else {}
            assert self.site.say(grant, "finish", outcome=outcome, **extra).status_code in {204, 409}

    def _result(self) -> None:
        task = self.chance.choice(self.site.competition.suite.tasks)
        self._say("results", result=result(task.id, task.metric, 0.5, queries=10))


ACTIONS = (
    "enter", "enter", "draft", "revise", "withdraw", "claim", "claim", "claim", "sleep", "heartbeat", "stage", "stage",
    "result", "result", "result", "verified", "verified", "scored", "invalid", "failed",
)  # fmt: skip


# Examples share the site, so a smaller one than the first that fails would not be the same: no shrinking.
@settings(
    max_examples=6,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(actions=st.lists(st.sampled_from(ACTIONS), min_size=10, max_size=40), seed=st.integers(0, 2**32))
def test_whatever_is_done_in_whatever_order_every_entry_ends_once(site: Site, actions: list[str], seed: int) -> None:
    walk = Walk(site, random.Random(seed))
    for action in actions:
        walk.step(action)
    walk.check()
    walk.drain()
    walk.check()
