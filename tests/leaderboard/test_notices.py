"""What was found of an entry and changes no score: told to all, without telling anybody what they may not see."""

from __future__ import annotations

import json
from typing import Any

import pytest

from competition.records.lifecycle import Event, chain_is_intact
from competition.records.scoring import MAX_NEAR_COPIES
from tests.leaderboard.site import LEASE, Site, manifest, result
from tests.leaderboard.test_visibility import _with_hidden_task

PUBLIC = (None, "alice", "bob", "worker")


def copied(site: Site, *others: str, account: str = "bob") -> str:
    """A new entry of bob's that is a near copy of those; its intake is done."""
    submission = site.enter(account)
    grant = site.claim(kinds=["intake"])
    copies = [{"submission": other, "distance": 0.00123} for other in others]
    site.must(grant, "finish", outcome="verified", manifest=manifest(grant), near_copies=copies)
    return submission


def log_of(site: Site, submission: str, account: str | None) -> list[Event]:
    events = [Event.model_validate(event) for event in site.get(f"/submissions/{submission}/events", account)]
    assert chain_is_intact(events)
    return events


def told(site: Site, submission: str, account: str | None) -> tuple[Any, Event]:
    """The one notice of an entry and the one event of a near copy, as the account sees them."""
    (notice,) = site.view(submission, account)["notices"]
    (event,) = [event for event in log_of(site, submission, account) if event.kind == "near_copy"]
    return notice, event


def everything(site: Site, submission: str, account: str | None) -> str:
    """All that an account can fetch about an entry, the page among it, as one text."""
    paths = (f"/submissions/{submission}", f"/submissions/{submission}/events", "/submissions")
    return json.dumps([site.get(path, account) for path in paths]) + site.http.get(f"/submissions/{submission}").text


def test_a_near_copy_is_named_only_to_those_who_may_see_the_other_entry(site: Site) -> None:
    first = site.scored()
    copy = copied(site, first)
    for account in (*PUBLIC, "organiser"):
        notice, event = told(site, copy, account)
        assert (notice["kind"], notice["other"], notice["other_account"]) == ("near_copy", first, "alice")
        assert (event.withheld, event.detail["other"], event.detail["distance"]) == (False, first, 0.00123)
    assert f"nearly those of entry {first} of account alice" in site.http.get(f"/submissions/{copy}").text
    site.request("POST", f"/submissions/{first}/withdraw", "alice")
    for account in (None, "bob", "worker"):
        notice, event = told(site, copy, account)
        assert (notice["other"], notice["other_account"], notice["distance"]) == (None, None, 0.00123)
        assert event.withheld
        assert set(event.detail) == {"attempt", "distance"}, "with the salt the name could be tried out"
        seen = site.get(f"/submissions/{copy}", account), site.get(f"/submissions/{copy}/events", account)
        assert first not in json.dumps(seen) + site.http.get(f"/submissions/{copy}").text
    for account in ("alice", "organiser"):
        notice, event = told(site, copy, account)
        assert (notice["other"], event.detail["other"], event.withheld) == (first, first, False)


def test_a_private_entry_is_not_named_by_another_ones_page(site: Site) -> None:
    draft = site.register("alice")
    copy = copied(site, draft)
    for account in (None, "bob", "worker"):
        assert draft not in everything(site, copy, account)
        assert told(site, copy, account)[0]["other"] is None
    assert told(site, copy, "alice")[0]["other"] == draft
    nowhere = copied(site, "sub-000000000000")
    assert told(site, nowhere, "organiser")[0]["other"] is None
    assert told(site, nowhere, "organiser")[1].detail["other"] == "sub-000000000000"
    assert "sub-000000000000" not in everything(site, nowhere, "bob")


def test_near_copies_are_fenced_bounded_and_noted_once(site: Site) -> None:
    first = site.scored()
    late = site.enter("bob")
    grant = site.claim()
    report = {"outcome": "verified", "manifest": manifest(grant), "near_copies": [{"submission": first, "distance": 0}]}
    for unfit in (
        [{"submission": first, "distance": 0}] * (MAX_NEAR_COPIES + 1),
        [{"submission": first, "distance": 3.0}],
        [{"submission": "../" * 9, "distance": 0}],
    ):
        assert site.say(grant, "finish", **{**report, "near_copies": unfit}).status_code == 422
    site.clock.advance(LEASE + 1)
    assert site.say(grant, "finish", **report).json()["error"]["code"] == "stale_attempt"
    assert site.view(late)["notices"] == []
    site.claim()
    site.clock.advance(10)
    again = site.claim()
    for _ in range(2):
        site.must(again, "finish", **report)
    assert len(site.view(late)["notices"]) == 1
    assert told(site, late, None)[1].detail["attempt"] == 2


def test_a_gap_of_a_hidden_result_is_for_organisers_and_its_absence_looks_the_same(site: Site) -> None:
    rules = _with_hidden_task(site.competition, revealed=False)
    site.publish(rules)
    *open_tasks, hidden = rules.suite.tasks
    honest, boastful = (_scored_with_gap(site, rules.id, gap) for gap in (None, 0.4375))
    for account in PUBLIC:
        notices = site.view(boastful, account)["notices"]
        assert [notice["task"] for notice in notices] == [task.id for task in open_tasks]
        assert (notices[0]["reported"], notices[0]["verified"]) == (pytest.approx(0.9375), 0.5)
        assert site.view(honest, account)["notices"] == []
        results = [event for each in (honest, boastful) for event in log_of(site, each, account)]
        of_hidden = [event for event in results if event.kind == "task_result" and event.detail["task"] == hidden.id]
        assert len(of_hidden) == 2
        for event in of_hidden:
            assert event.withheld
            assert event.detail == {"task": hidden.id, "attempt": 1}
    assert f"{hidden.title}: its authors report" not in site.http.get(f"/submissions/{boastful}").text
    assert f"{open_tasks[0].title}: its authors report" in site.http.get(f"/submissions/{boastful}").text
    seen = site.view(boastful, "organiser")["notices"]
    assert [notice["task"] for notice in seen] == [task.id for task in rules.suite.tasks]
    assert not any(event.withheld for event in log_of(site, boastful, "organiser"))


def _scored_with_gap(site: Site, competition: str, gap: float | None) -> str:
    submission = site.enter(competition=competition)
    site.verify(site.claim())
    grant = site.claim()
    for task in site.tasks(grant):
        body = result(task.id, task.metric, 0.5)
        site.must(grant, "results", result=body, reported_gap=gap)
        before = log_of(site, submission, "organiser")
        site.must(grant, "results", result=body, reported_gap=-1.0)
        assert log_of(site, submission, "organiser") == before, "a result is accepted once, with what was said of it"
    site.must(grant, "finish", outcome="scored")
    return submission
