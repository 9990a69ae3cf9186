"""What must not be seen is not seen, on any public route: private entries, hidden results, what was taken back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from competition.rules import Competition
from tests.leaderboard.site import Site, manifest, result

SECRET_VALUE = 0.815


def _with_hidden_task(rules: Competition, *, revealed: bool) -> Competition:
    """Like ``rules``, with the last task hidden, and a public primary aggregate beside one that holds all tasks."""
    *shown, last = rules.suite.tasks
    hidden = last.model_copy(update={"hidden": True, "revealed": revealed})
    every = rules.suite.primary_aggregate
    public = every.model_copy(update={"id": "public", "title": "Public", "tasks": tuple(task.id for task in shown)})
    changes = {"tasks": (*shown, hidden), "aggregates": (every, public), "primary": "public"}
    suite = rules.suite.model_copy(update=changes)
    return rules.model_copy(update={"id": "secret", "suite": suite})


def _score_with_secret(site: Site, hidden: str, competition: str = "secret") -> str:
    submission = site.enter(competition=competition)
    site.verify(site.claim())
    grant = site.claim()
    for task in site.tasks(grant):
        value = SECRET_VALUE if task.id == hidden else 0.5
        site.must(grant, "stage", stage=task.id)
        site.must(grant, "results", result=result(task.id, task.metric, value))
    site.must(grant, "finish", outcome="scored")
    return submission


def _everything(site: Site, submission: str, competition: Competition, account: str | None = None) -> str:
    """What the public can fetch about an entry, as one text."""
    paths = (f"/submissions/{submission}", f"/submissions/{submission}/events", "/submissions", "/competitions")
    bodies: list[Any] = [site.get(path, account) for path in paths]
    return json.dumps([*bodies, site.standings(account, competition)])


@pytest.mark.parametrize("revealed", [False, True])
def test_how_many_images_of_a_hidden_task_the_data_hold_is_told_to_nobody(site: Site, revealed: bool) -> None:
    rules = _with_hidden_task(site.competition, revealed=revealed)
    site.publish(rules)
    submission = site.enter(competition=rules.id)
    grant = site.claim()
    found = {"images": 1000, "exact": 0, "copied": 7, "samples": 7}
    overlaps = [{"task": task.id, **found} for task in rules.suite.tasks]
    site.must(grant, "finish", outcome="verified", manifest=manifest(grant), overlaps=overlaps)
    for account in (None, "alice", "organiser"):
        events = site.get(f"/submissions/{submission}/events", account)
        (detail,) = [event["detail"] for event in events if event["after"] == "queued"]
        assert detail["test_image_shares"] == {task.id: 0.007 for task in rules.suite.tasks if not task.hidden}


def test_results_of_a_hidden_task_are_seen_by_organisers_only(site: Site) -> None:
    rules = _with_hidden_task(site.competition, revealed=False)
    site.publish(rules)
    hidden = rules.suite.tasks[-1].id
    submission = _score_with_secret(site, hidden)
    for account in (None, "alice", "bob", "worker"):
        assert str(SECRET_VALUE) not in _everything(site, submission, rules, account)
        view = site.view(submission, account)
        assert hidden not in [row["task"] for row in view["results"]]
        assert view["tasks_total"] == len(view["results"]) == len(rules.suite.tasks) - 1
        board = site.standings(account, rules)
        assert hidden not in [task["id"] for task in board["tasks"]]
        assert [(row["rank"], hidden in row["tasks"]) for row in board["rows"]] == [(1, False)]
        assert board["rows"][0]["score"]["value"] == pytest.approx(0.5)
    assert str(SECRET_VALUE) in _everything(site, submission, rules, "organiser")


def test_a_number_made_of_hidden_results_is_hidden_too(site: Site) -> None:
    rules = _with_hidden_task(site.competition, revealed=False)
    rules = rules.model_copy(update={"suite": rules.suite.model_copy(update={"primary": rules.suite.aggregates[0].id})})
    site.publish(rules)
    _score_with_secret(site, rules.suite.tasks[-1].id)
    assert [(row["rank"], row["score"]) for row in site.standings(None, rules)["rows"]] == [(None, None)]
    assert site.standings("organiser", rules)["rows"][0]["rank"] == 1


def test_a_revealed_task_is_shown_and_said_to_be_hidden(site: Site) -> None:
    rules = _with_hidden_task(site.competition, revealed=True)
    site.publish(rules)
    submission = _score_with_secret(site, rules.suite.tasks[-1].id)
    assert str(SECRET_VALUE) in _everything(site, submission, rules)
    assert site.standings(None, rules)["tasks"][-1]["hidden"] is True


def test_a_draft_is_known_to_its_account_and_organisers_only(site: Site) -> None:
    draft = site.register(method_name="unannounced")
    for account in (None, "bob", "worker"):
        for path in (f"/submissions/{draft}", f"/submissions/{draft}/events"):
            response = site.request("GET", path, account)
            assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
        assert site.get("/submissions", account)["items"] == []
    assert site.revise(draft, "bob").status_code == 404
    assert site.request("POST", f"/submissions/{draft}/withdraw", "bob").status_code == 404
    for account in ("alice", "organiser"):
        assert site.view(draft, account)["method_name"] == "unannounced"
        assert [item["id"] for item in site.get("/submissions", account)["items"]] == [draft]


def test_a_withdrawn_draft_stays_unknown(site: Site) -> None:
    draft = site.register()
    assert site.request("POST", f"/submissions/{draft}/withdraw", "alice").status_code == 200
    assert site.request("GET", f"/submissions/{draft}").status_code == 404


def test_a_tombstone_shows_that_there_was_an_entry_and_nothing_of_it(site: Site) -> None:
    submission = site.scored(0.7, description="my private idea")
    site.request("POST", f"/submissions/{submission}/withdraw", "alice")
    view = site.view(submission)
    assert (view["visibility"], view["results"], view["description"]) == ("withdrawn", [], "")
    assert (view["revision"], view["path"], view["subset_samples"]) == (None, None, None)
    assert "my private idea" not in _everything(site, submission, site.competition)
    assert len(site.view(submission, "alice")["results"]) == len(site.competition.suite.tasks)


def test_nonces_and_manifests_are_on_no_public_route(site: Site) -> None:
    ticket = site.request("POST", "/submissions", "alice", site.registration()).json()
    submission = ticket["submission_id"]
    site.revise(submission)
    site.verify(site.claim())
    site.score(site.claim())
    assert ticket["nonce"] not in _everything(site, submission, site.competition)


def test_another_account_cannot_change_an_entry(site: Site) -> None:
    submission = site.enter()
    assert site.revise(submission, "bob", revision="d" * 40).status_code == 403
    assert site.view(submission)["processing"] == "received"
