"""Participants, workers and an organiser who re-scores, publishes and cancels, all as they like, in any order."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from competition.records.lifecycle import Event, Processing, chain_is_intact
from leaderboard.models import Evaluation, Job, JobState, RescoredEntry, Rescoring, TaskOutcome
from leaderboard.submissions.lifecycle import TRANSITIONS
from tests.leaderboard.site import LEASE, Site, result
from tests.leaderboard.test_claims import ACTIONS, Walk
from tests.leaderboard.test_rescoring import begin, newer, request

_NOT_PROCESSING = {"visibility", "eligibility", "rescored"}


class RescoringWalk(Walk):
    """The walk of the claims' tests, with re-scorings."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        super().__init__(site, chance)
        self.newer = newer(site)
        self.suites = {suite.digest: suite for suite in (site.competition.suite, self.newer.suite)}

    def step(self, action: str) -> None:
        acts = {
            "rescore": lambda: self._organise("", request(self.newer)),
            "publish": lambda: self._change("publish", {"allow_missing": self.chance.random() < 0.5}),
            "cancel": lambda: self._change("cancel", None),
            "take over": lambda: self._say("taken-over", task=self.chance.choice(self._task_ids())),
            "through": self._through,
        }
        if action in acts:
            acts[action]()
        else:
            super().step(action)

    def drain(self) -> None:
        idle = 0
        while idle < 2:
            self.site.clock.advance(LEASE + 3600)
            grant = self.site.claim()
            idle = idle + 1 if grant is None else 0
            if grant is not None:
                self._honestly(grant)
        for submission in self.submissions:
            state = Processing(self.site.view(submission, "alice")["processing"])
            assert state.terminal or state is Processing.DRAFT

    def check(self) -> None:
        for submission in self.submissions:
            raw = self.site.get(f"/submissions/{submission}/events", "alice")
            events = [Event.model_validate(event) for event in raw]
            assert chain_is_intact(events)
            states = [Processing(e.after) for e in events if e.after and e.kind not in _NOT_PROCESSING]
            for before, after in itertools.pairwise(states):
                assert after is before or after in TRANSITIONS[before]
            assert states[-1].value == self.site.view(submission, "alice")["processing"]
            self._check_rows(submission, events)
        self._check_public()

    def _check_rows(self, submission: str, events: list[Event]) -> None:
        """A result a task and suite, told once each; what is public is complete."""
        with self.site.database.reading() as session:
            rows = session.execute(
                select(Evaluation, TaskOutcome)
                .join(TaskOutcome, TaskOutcome.evaluation_id == Evaluation.id)
                .where(Evaluation.submission_id == submission)
                .order_by(TaskOutcome.id)
            ).all()
        told = [
            (event.detail["task"], event.detail["result_sha256"]) for event in events if event.kind == "task_result"
        ]
        assert [(outcome.task, outcome.digest) for _evaluation, outcome in rows] == told
        done = Counter((evaluation.suite_digest, outcome.task) for evaluation, outcome in rows)
        assert max(done.values(), default=1) == 1
        for evaluation in {evaluation.id: evaluation for evaluation, _outcome in rows}.values():
            tasks = {task for digest, task in done if digest == evaluation.suite_digest}
            complete = tasks == {task.id for task in self.suites[evaluation.suite_digest].tasks}
            assert complete or evaluation.published_at is None
            assert evaluation.score is not None or evaluation.published_at is None

    def _check_public(self) -> None:
        """The table is of one suite; a second score is public only through a re-scoring that is."""
        with self.site.database.reading() as session:
            rows = session.execute(
                select(RescoredEntry, Rescoring, Evaluation, Job)
                .join(Rescoring, Rescoring.id == RescoredEntry.rescoring_id)
                .join(Evaluation, Evaluation.id == RescoredEntry.evaluation_id)
                .join(Job, Job.id == RescoredEntry.job_id)
            ).all()
        public = {entry.submission_id for entry, rescoring, _, _ in rows if rescoring.state == "published"}
        for entry, rescoring, evaluation, job in rows:
            assert evaluation.published_at is None or entry.submission_id in public
            if rescoring.state != "open":
                assert job.state not in {JobState.READY, JobState.LEASED}
        table = self.site.standings()
        expected = self.newer if table["competition_version"] == 2 else self.site.competition
        assert table["suite_digest"] == expected.suite.digest
        for row in table["rows"]:
            assert set(row["tasks"]) == {task.id for task in expected.suite.tasks}
            assert None not in row["tasks"].values()

    def _task_ids(self) -> list[str]:
        return [task.id for suite in self.suites.values() for task in suite.tasks]

    def _result(self) -> None:
        suite = self.chance.choice(list(self.suites.values()))
        task = self.chance.choice(suite.tasks)
        self._say("results", result=result(task.id, task.metric, 0.5, queries=10))

    def _through(self) -> None:
        """An honest worker does one job from its claim to its end."""
        grant = self.site.claim()
        if grant is not None:
            self._honestly(grant)

    def _honestly(self, grant: Any) -> None:
        if grant["kind"] == "intake":
            self.site.verify(grant)
            return
        order = grant["rescoring"] or {"suite_digest": grant["suite_digest"], "taken_over": []}
        for task in self.suites[order["suite_digest"]].tasks:
            if task.id in grant["finished_tasks"]:
                continue
            if task.id in order["taken_over"]:
                self.site.must(grant, "taken-over", task=task.id)
            else:
                self.site.must(grant, "results", result=result(task.id, task.metric, 0.5, queries=10))
        self.site.must(grant, "finish", outcome="scored")

    def _organise(self, what: str, body: Any) -> None:
        response = self.site.request("POST", f"/competitions/digits/rescorings{what}", "organiser", body)
        assert response.status_code in {200, 409}, response.text

    def _change(self, what: str, body: Any) -> None:
        known = self.site.get("/competitions/digits/rescorings", "organiser")
        if known:
            self._organise(f"/{self.chance.choice(known)['id']}/{what}", body)


# Most of the time there must be something to re-score.
STEPS = (*ACTIONS, *("through",) * 14, *("rescore",) * 3, "publish", "publish", "cancel", "take over", "take over")


@settings(
    max_examples=4,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(actions=st.lists(st.sampled_from(STEPS), min_size=30, max_size=60), seed=st.integers(0, 2**32))
def test_whatever_is_done_while_entries_are_rescored_every_number_is_public_once_and_whole(
    site: Site, actions: list[str], seed: int
) -> None:
    walk = RescoringWalk(site, random.Random(seed))
    for action in actions:
        walk.step(action)
    walk.check()
    walk.drain()
    walk.check()
    known = site.get("/competitions/digits/rescorings", "organiser")
    assert not any(each["progress"]["waiting"] or each["progress"]["running"] for each in known)


def test_the_walk_of_an_honest_organiser_ends_with_every_entry_under_the_newer_suite(sqlite_site: Site) -> None:
    walk = RescoringWalk(sqlite_site, random.Random(0))
    for action in ("enter", "enter", *("through",) * 4):
        walk.step(action)
    begin(sqlite_site, walk.newer)
    walk.drain()
    walk.step("publish")
    walk.check()
    assert len(sqlite_site.standings()["rows"]) == 2
    assert sqlite_site.standings()["suite"] == "digits@2"
