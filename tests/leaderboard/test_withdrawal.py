"""Taking an entry back: what stops, what stays, who may do it, and what is still seen of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from competition.errors import ConflictError
from competition.records.lifecycle import Event, Processing, chain_is_intact
from leaderboard.accounts.viewer import Act
from leaderboard.scoring import queue
from tests.leaderboard.site import Site

REASON = "We trained on the test set by mistake."


def withdraw(site: Site, submission: str, account: str, **body: Any) -> Any:
    response = site.request("POST", f"/submissions/{submission}/withdraw", account, body or None)
    assert response.status_code == 200, response.text
    return response.json()


def events(site: Site, submission: str, account: str | None = None) -> list[Event]:
    return [Event.model_validate(event) for event in site.get(f"/submissions/{submission}/events", account)]


def test_the_public_sees_that_an_account_took_an_entry_back_and_when_and_nothing_else(site: Site) -> None:
    secrets = {"method_name": "secret method", "author": "Secret Author", "description": "a secret idea"}
    submission = site.scored(repo="alice/secret-repo", **secrets)
    site.clock.advance(86_400)
    withdrawn = withdraw(site, submission, "alice", reason=REASON)
    own = {"by_author": True, "reason": REASON, "at": withdrawn["updated_at"]}
    assert withdrawn["withdrawal"] == site.view(submission, "organiser")["withdrawal"] == own
    assert (withdrawn["method_name"], len(withdrawn["results"])) == ("secret method", withdrawn["tasks_total"])
    for account in (None, "bob", "worker"):
        view = site.view(submission, account)
        assert view["withdrawal"] == own | {"reason": None}
        assert (view["account"], view["visibility"], view["processing"]) == ("alice", "withdrawn", "scored")
        log = events(site, submission, account)
        assert chain_is_intact(log)
        assert [event.hash for event in log] == [event.hash for event in events(site, submission, "alice")]
        assert [event.kind for event in log] == ["withheld"] * (len(log) - 1) + ["visibility"]
        paths = (f"/submissions/{submission}", f"/submissions/{submission}/events", "/submissions")
        seen = json.dumps([site.get(path, account) for path in paths])
        for secret in (*secrets.values(), "secret-repo", REASON, "c" * 40, "result_sha256"):
            assert secret not in seen
    page = site.http.get(f"/submissions/{submission}").text
    assert "Withdrawn by its author on 2 Jun 2026" in page
    for secret in (*secrets.values(), "secret-repo", REASON, "Result accepted"):
        assert secret not in page
    assert submission not in site.http.get(f"/competitions/{site.competition.id}").text
    assert site.standings()["rows"] == site.standings("alice")["rows"] == []
    assert not any(event.withheld for account in ("alice", "organiser") for event in events(site, submission, account))


def test_a_withdrawal_is_done_once_and_for_good(site: Site) -> None:
    submission = site.enter()
    grant = site.claim()
    assert site.request("POST", f"/submissions/{submission}/withdraw", "bob", {}).status_code == 403
    assert site.request("POST", f"/submissions/{submission}/withdraw", None, {}).status_code == 401
    for unfit in ({"reason": "x" * 1001}, {"reason": "\x1b[31m"}, {"other": 1}):
        assert site.request("POST", f"/submissions/{submission}/withdraw", "alice", unfit).status_code == 422
    first = withdraw(site, submission, "organiser", reason="asked for by mail")
    assert first["withdrawal"]["by_author"] is False
    before = events(site, submission, "alice")
    assert withdraw(site, submission, "alice", reason="another reason") == withdraw(site, submission, "alice")
    assert events(site, submission, "alice") == before
    assert site.view(submission, "alice")["withdrawal"] == first["withdrawal"]
    assert [event.actor for event in before if event.kind == "visibility"] == ["organiser"]
    assert "Withdrawn by the organisers on 1 Jun 2026" in site.http.get(f"/submissions/{submission}").text
    late = site.say(grant, "finish", outcome="failed", message="m")
    assert late.json()["error"]["code"] == "stale_attempt"
    site.clock.advance(10_000)
    assert site.claim() is None
    assert site.view(submission)["processing"] == "cancelled"
    counted = site.get("/submissions?account=alice", "bob")["items"]
    assert [(item["id"], item["visibility"]) for item in counted] == [(submission, "withdrawn")]


def test_what_was_given_up_and_then_withdrawn_is_not_taken_up_again(site: Site) -> None:
    submission = site.enter()
    for _ in range(3):
        site.must(site.claim(), "finish", outcome="failed", message="the disk is full")
        site.clock.advance(100)
    assert withdraw(site, submission, "alice")["processing"] == Processing.FAILED
    assert "the disk is full" not in json.dumps(site.view(submission))
    with pytest.raises(ConflictError, match="was withdrawn"), site.database.writing() as session:
        queue.requeue(session, submission, Act("olga", site.clock()))
    assert site.claim() is None
