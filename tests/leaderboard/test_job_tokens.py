"""The token of an attempt: what it opens, until when, and what the answer is where it opens nothing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from leaderboard.accounts import service as accounts
from tests.leaderboard.site import LEASE, Site, manifest, result

STALE, UNKNOWN = (409, "stale_attempt"), (401, "unauthenticated")


def _beat(site: Site, grant: Any, **changes: Any) -> Any:
    """The answer to a heartbeat: 204, or the status and the code of the refusal."""
    response = site.say({**grant, **changes}, "heartbeat")
    return 204 if response.status_code == 204 else (response.status_code, response.json()["error"]["code"])


def test_a_token_is_good_for_one_attempt_at_one_job_until_its_lease_ends(site: Site) -> None:
    site.enter()
    first = site.claim()
    assert _beat(site, first) == 204
    with site.database.reading() as session:
        stored = str(session.execute(text("SELECT * FROM jobs")).all())
    assert first["token"] not in stored
    assert first["token"].rpartition(".")[2] not in stored
    forged = first["token"][:-1] + ("A" if first["token"][-1] != "A" else "B")
    later = first["token"].replace(f"{first['job_id']}.1.", f"{first['job_id']}.2.")
    for token in (forged, later, "", "dcj_", "dcj_1", "a b", site.tokens["worker"], site.tokens["organiser"]):
        assert _beat(site, first, token=token) == UNKNOWN, token
    # Heartbeats extend it, silence ends it, and another attempt has another.
    for _ in range(3):
        site.clock.advance(LEASE - 1)
        assert _beat(site, first) == 204
    site.clock.advance(LEASE)
    assert _beat(site, first) == STALE
    assert site.claim() is None
    assert _beat(site, first) == STALE, "the job waits for another attempt"
    site.clock.advance(10)
    second = site.claim("worker-two")
    assert (second["job_id"], second["attempt"]) == (first["job_id"], 2)
    assert _beat(site, first) == STALE
    assert _beat(site, first, token=second["token"]) == STALE, "what an earlier attempt says is not said by this one"
    assert _beat(site, second, token=first["token"]) == STALE
    assert _beat(site, second) == 204


def test_the_last_word_may_be_repeated_and_nothing_else_is_heard_after_it(site: Site) -> None:
    site.enter()
    intake = site.claim()
    last = {"outcome": "verified", "manifest": manifest(intake)}
    site.must(intake, "finish", **last)
    site.must(intake, "finish", **last)
    assert _beat(site, intake) == STALE
    scoring = site.claim()
    assert _beat(site, scoring, token=intake["token"]) == UNKNOWN, "the other job of the same entry"
    task = site.tasks(scoring)[0]
    one = result(task.id, task.metric, 0.5) | {"device": "a GPU", "device_seconds": 1.25}
    site.must(scoring, "results", result=one)
    with site.database.reading() as session:
        assert session.execute(text("SELECT device, device_seconds FROM task_results")).all() == [("a GPU", 1.25)]


def test_revoking_a_workers_token_ends_what_it_has_claimed(site: Site) -> None:
    site.enter()
    grant = site.claim()
    with site.database.writing() as session:
        for token in accounts.tokens(session):
            if token.account.name == "worker":
                accounts.revoke_token(session, token.id, site.clock())
    refused = site.say(grant, "finish", outcome="failed", message="")
    assert (refused.status_code, refused.json()["error"]["code"]) == UNKNOWN
    assert "revoked" in refused.json()["error"]["message"]
