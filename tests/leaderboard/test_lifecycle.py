"""The life of a submission over HTTP, on both databases: what goes well, what goes wrong, what is repeated."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
import structlog

from competition.errors import ConflictError, NotFoundError
from competition.records.lifecycle import JobKind, Processing, chain_is_intact
from leaderboard.accounts.viewer import Act
from leaderboard.app import reap
from leaderboard.scoring import queue
from leaderboard.settings import Settings
from leaderboard.submissions.lifecycle import TRANSITIONS
from tests.leaderboard.site import LEASE, START, Site, manifest, open_site, result


def _story(site: Site, submission: str) -> list[tuple[str, str | None]]:
    return [(event.kind, event.after) for event in site.events(submission)]


def test_an_entry_goes_from_draft_to_scored_and_its_log_tells_so(site: Site) -> None:
    submission = site.register()
    assert site.view(submission, "alice")["processing"] == "draft"
    assert site.revise(submission).json()["processing"] == "received"
    intake = site.claim()
    assert (intake["kind"], intake["attempt"], intake["manifest"]) == ("intake", 1, None)
    site.verify(intake)
    scoring = site.claim()
    assert scoring["manifest"] == manifest(intake)
    site.score(scoring, 0.75)
    view = site.view(submission)
    assert (view["processing"], view["trust"], view["stage"]) == ("scored", "re_evaluated", None)
    assert (view["subset_samples"], view["subset_unique"]) == (1200, 1000)
    assert len(view["results"]) == view["tasks_total"] == len(site.competition.suite.tasks)
    assert view["results"][0]["score"]["value"] == 0.75
    events = site.events(submission)
    assert chain_is_intact(events)
    moves = [event.after for event in events if event.kind in {"registered", "processing", "claimed"} and event.after]
    running = ["running"] * len(site.competition.suite.tasks)
    assert moves == ["draft", "received", "mirrored", "validating", "queued", "leased", *running, "scored"]
    tasks = [event.detail["task"] for event in events if event.kind == "task_result"]
    assert tasks == [task.id for task in site.competition.suite.tasks]
    assert site.claim() is None


def test_registering_again_with_the_same_key_gives_the_same_ticket(site: Site) -> None:
    body = site.registration()
    first = site.request("POST", "/submissions", "alice", body)
    assert site.request("POST", "/submissions", "alice", body).json() == first.json()
    other = site.request("POST", "/submissions", "alice", body | {"method_name": "other"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    bob = site.request("POST", "/submissions", "bob", body)
    assert bob.json()["submission_id"] != first.json()["submission_id"]
    assert bob.json()["nonce"] != first.json()["nonce"]


def test_repeating_a_revision_changes_nothing_and_another_one_is_refused(site: Site) -> None:
    submission = site.enter()
    before = site.events(submission)
    assert site.revise(submission).status_code == 200
    assert site.revise(submission, revision="d" * 40).status_code == 409
    assert site.events(submission) == before
    assert site.claim() is not None
    assert site.claim() is None


def test_entries_are_taken_only_while_a_phase_is_open(site: Site) -> None:
    rules = site.competition
    opens, closes = START + timedelta(seconds=10), START + timedelta(seconds=20)
    phase = rules.phases[0].model_copy(update={"opens": opens, "closes": closes})
    site.publish(rules.model_copy(update={"id": "timed", "phases": (phase,)}))
    body = site.registration(competition="timed")
    early = site.request("POST", "/submissions", "alice", body)
    assert early.status_code == 409
    assert "2026-06-01 12:00:10" in early.json()["error"]["hint"]
    site.clock.now = opens
    ticket = site.request("POST", "/submissions", "alice", body)
    assert ticket.status_code == 200
    late_draft = site.register(competition="timed")
    site.clock.now = closes
    assert site.request("POST", "/submissions", "alice", site.registration(competition="timed")).status_code == 409
    assert site.request("POST", "/submissions", "alice", body).json() == ticket.json()
    assert site.revise(late_draft).json()["eligibility"] == "late"


def test_an_invalid_entry_says_why_and_what_to_do(site: Site) -> None:
    submission = site.enter()
    grant = site.claim()
    report = {"outcome": "invalid", "reason": "digest_mismatch", "message": "model.safetensors\x00\x1b[31m differs"}
    site.must(grant, "finish", **report)
    view = site.view(submission)
    assert view["processing"] == "invalid"
    assert view["rejection"]["reason"] == "digest_mismatch"
    assert view["rejection"]["message"] == "model.safetensors\ufffd\ufffd[31m differs"
    assert "submit" in view["rejection"]["hint"]
    site.must(grant, "finish", **report)
    assert site.say(grant, "finish", **(report | {"message": "other"})).json()["error"]["code"] == "stale_attempt"
    assert site.claim() is None
    assert site.standings()["rows"] == []


def test_a_failure_of_the_platform_is_retried_with_growing_waits_and_then_given_up(site: Site) -> None:
    submission = site.enter()
    for attempt, wait in ((1, 10), (2, 20)):
        grant = site.claim()
        assert grant["attempt"] == attempt
        site.must(grant, "finish", outcome="failed", message="the mirror is full")
        site.must(grant, "finish", outcome="failed", message="the mirror is full")
        assert site.view(submission)["processing"] == "received"
        site.clock.advance(wait - 1)
        assert site.claim() is None
        site.clock.advance(1)
    with structlog.testing.capture_logs() as alerts:
        site.must(site.claim(), "finish", outcome="failed", message="the mirror is full")
    assert [(alert["event"], alert["submission"]) for alert in alerts] == [("job_given_up", submission)]
    view = site.view(submission)
    assert view["processing"] == "failed"
    assert "the mirror is full" in view["failure"]
    assert _story(site, submission)[-2:] == [("platform_failure", None), ("dead_lettered", "failed")]
    site.clock.advance(10_000)
    assert site.claim() is None


def test_given_up_work_is_taken_up_where_it_stopped_when_an_operator_says_so(site: Site) -> None:
    submission = site.enter()
    site.verify(site.claim())
    grant = site.claim()
    done = site.tasks(grant)[0]
    site.must(grant, "results", result=result(done.id, done.metric, 0.5))
    for _ in range(3):
        site.must(grant, "finish", outcome="failed", message="the disk is full")
        site.clock.advance(100)
        grant = site.claim()
    assert site.view(submission)["processing"] == "failed"
    act = Act("olga", site.clock())
    with site.database.writing() as session:
        assert queue.requeue(session, submission, act) is JobKind.SCORING
    view = site.view(submission)
    assert (view["processing"], view["failure"]) == ("queued", None)
    again = site.claim()
    assert again["finished_tasks"] == [done.id]
    site.score(again, 0.9)
    assert site.view(submission)["processing"] == "scored"
    assert ("requeued", "queued") in _story(site, submission)
    assert chain_is_intact(site.events(submission))
    for unfit, error in ((submission, ConflictError), ("sub-000000000000", NotFoundError)):
        with pytest.raises(error), site.database.writing() as session:
            queue.requeue(session, unfit, act)


def test_a_lost_worker_costs_one_task_and_its_late_messages_change_nothing(site: Site) -> None:
    submission = site.enter()
    site.verify(site.claim())
    lost = site.claim()
    first, second, *_ = site.tasks(lost)
    site.must(lost, "results", result=result(first.id, first.metric, 0.5))
    site.clock.advance(LEASE - 1)
    site.must(lost, "heartbeat")
    site.clock.advance(LEASE)
    for what, fields in (
        ("heartbeat", {}),
        ("stage", {"stage": second.id}),
        ("results", {"result": result(second.id, second.metric, 0.1)}),
        ("finish", {"outcome": "scored"}),
    ):
        refused = site.say(lost, what, **fields)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "stale_attempt")
    assert site.claim() is None, "the job waits out its back-off"
    assert site.view(submission)["processing"] == "queued"
    site.clock.advance(10)
    grant = site.claim("worker-two")
    assert (grant["attempt"], grant["finished_tasks"]) == (2, [first.id])
    refused = site.say(lost, "results", result=result(second.id, second.metric, 0.1))
    assert refused.json()["error"]["code"] == "stale_attempt"
    site.score(grant, 0.9)
    values = {row["task"]: row["score"]["value"] for row in site.view(submission)["results"]}
    assert (values[first.id], values[second.id]) == (0.5, 0.9)
    assert ("lease_expired", "queued") in _story(site, submission)
    assert chain_is_intact(site.events(submission))


def test_a_worker_cannot_speak_for_the_job_of_another(site: Site) -> None:
    first, second = site.enter(), site.enter()
    mine, other = site.claim("worker"), site.claim("worker-two")
    assert {mine["submission_id"], other["submission_id"]} == {first, second}
    refused = site.say(mine | {"token": other["token"]}, "heartbeat")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthenticated")


def test_progress_resets_the_count_of_failed_tries(site: Site) -> None:
    submission = site.enter()
    site.verify(site.claim())
    for _ in range(len(site.competition.suite.tasks)):
        grant = site.claim()
        task = site.tasks(grant)[0]
        site.must(grant, "results", result=result(task.id, task.metric, 0.5))
        site.clock.advance(LEASE + 10)
        site.claim(kinds=["intake"])
        site.clock.advance(10)
    site.must(site.claim(), "finish", outcome="scored")
    assert site.view(submission)["processing"] == "scored"


def test_a_result_is_accepted_once(site: Site) -> None:
    submission = site.enter()
    site.verify(site.claim())
    grant = site.claim()
    task = site.tasks(grant)[0]
    body = result(task.id, task.metric, 0.5)
    site.must(grant, "results", result=body)
    before = site.events(submission)
    site.must(grant, "results", result=body)
    assert site.events(submission) == before
    other = site.say(grant, "results", result=result(task.id, task.metric, 0.6))
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    assert site.view(submission)["results"][0]["score"]["value"] == 0.5


def test_scored_needs_every_task(site: Site) -> None:
    submission = site.enter()
    site.verify(site.claim())
    grant = site.claim()
    task, *others = site.tasks(grant)
    site.must(grant, "results", result=result(task.id, task.metric, 0.5))
    refused = site.say(grant, "finish", outcome="scored")
    assert refused.status_code == 409
    assert others[0].id in refused.json()["error"]["message"]
    assert site.view(submission)["processing"] == "running"
    for other in others:
        site.must(grant, "results", result=result(other.id, other.metric, 0.5))
    site.must(grant, "finish", outcome="scored")
    site.must(grant, "finish", outcome="scored")
    assert site.view(submission)["processing"] == "scored"


@pytest.mark.parametrize("change", [{"nonce": "f" * 64}, {"recipe_digest": "f" * 64}, {"submission_id": "sub-other"}])
def test_a_manifest_of_another_registration_is_refused(sqlite_site: Site, change: dict[str, str]) -> None:
    site = sqlite_site
    site.enter()
    grant = site.claim()
    refused = site.say(grant, "finish", outcome="verified", manifest=manifest(grant, **change))
    assert refused.status_code == 422
    assert next(iter(change)) in refused.json()["error"]["message"]


def test_messages_that_do_not_fit_the_job_are_refused(sqlite_site: Site) -> None:
    site = sqlite_site
    site.enter()
    intake = site.claim()
    task = site.competition.suite.tasks[0]
    assert site.say(intake, "stage", stage=task.id).status_code == 422
    assert site.say(intake, "results", result=result(task.id, task.metric, 0.5)).status_code == 404
    assert site.say(intake, "finish", outcome="scored").status_code == 409
    site.verify(intake)
    scoring = site.claim()
    assert site.say(scoring, "stage", stage="mirrored").status_code == 422
    assert site.say(scoring, "finish", outcome="verified", manifest=manifest(scoring)).status_code == 409
    assert site.say(scoring | {"job_id": 999}, "heartbeat").status_code == 401


def test_withdrawing_stops_the_work_and_leaves_a_tombstone(site: Site) -> None:
    submission = site.enter()
    grant = site.claim()
    assert site.request("POST", f"/submissions/{submission}/withdraw", "bob").status_code == 403
    first = site.request("POST", f"/submissions/{submission}/withdraw", "alice").json()
    assert (first["processing"], first["visibility"]) == ("cancelled", "withdrawn")
    assert site.request("POST", f"/submissions/{submission}/withdraw", "alice").json() == first
    assert site.say(grant, "heartbeat").json()["error"]["code"] == "stale_attempt"
    assert site.claim() is None
    assert site.revise(submission, revision="d" * 40).status_code == 409
    assert chain_is_intact(site.events(submission))


def test_a_scored_entry_leaves_the_standings_when_it_is_withdrawn(site: Site) -> None:
    submission = site.scored()
    assert [row["submission_id"] for row in site.standings()["rows"]] == [submission]
    view = site.request("POST", f"/submissions/{submission}/withdraw", "alice").json()
    assert (view["processing"], view["visibility"]) == ("scored", "withdrawn")
    assert site.standings()["rows"] == []


def test_forgotten_drafts_are_cancelled(site: Site) -> None:
    submission = site.register()
    settings = Settings(draft_days=30)
    site.clock.advance(timedelta(days=30).total_seconds())
    assert reap(site.database, settings, site.clock) == 0
    site.clock.advance(1)
    assert reap(site.database, settings, site.clock) == 1
    assert site.view(submission, "organiser")["processing"] == "cancelled"
    assert site.revise(submission).status_code == 409


def test_the_table_of_transitions_is_whole() -> None:
    assert {state for state, after in TRANSITIONS.items() if not after} | {Processing.FAILED} == {
        state for state in Processing if state.terminal
    }
    assert TRANSITIONS[Processing.FAILED] == {Processing.RECEIVED, Processing.QUEUED}, "only back to where work waits"
    assert all(after in TRANSITIONS for targets in TRANSITIONS.values() for after in targets)


def test_the_reaper_beside_the_server_takes_back_what_was_lost(database_url: str) -> None:
    """No claim is made: the background task alone must find the lapsed lease."""
    with open_site(database_url, reaper_seconds=0.05) as site, site.http:
        submission = site.enter()
        site.must(site.claim(), "stage", stage="mirrored")
        site.clock.advance(LEASE)
        deadline = time.monotonic() + 20
        while site.view(submission)["processing"] != "received" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert _story(site, submission)[-1] == ("lease_expired", "received")
        assert site.events(submission)[-1].actor == "system"
