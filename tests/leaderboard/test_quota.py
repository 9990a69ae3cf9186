"""Quotas over HTTP, on both databases: what counts, from when, until when, and that a race takes nothing more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from competition.errors import RejectionReason
from competition.rules import Quota
from tests.leaderboard.site import START, Site

DAY = timedelta(days=1)


def limited(site: Site, **bounds: int) -> None:
    """A competition like the site's, with a quota, as ``limited``."""
    phase = site.competition.phases[0].model_copy(update={"opens": START, "quota": Quota(**bounds)})
    later = phase.model_copy(update={"id": "later", "opens": START + 10 * DAY})
    first = phase.model_copy(update={"closes": START + 10 * DAY})
    site.publish(site.competition.model_copy(update={"id": "limited", "phases": (first, later)}))


def enter(site: Site, account: str = "alice") -> str:
    submission = site.register(account, competition="limited")
    response = site.revise(submission, account)
    assert response.status_code == 200, response.text
    return submission


def refusal(site: Site, account: str = "alice") -> dict[str, Any]:
    """The refusal of another registration."""
    response = site.request("POST", "/submissions", account, site.registration(competition="limited"))
    assert response.status_code == 429, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == "quota"
    return error


def end_invalid(site: Site) -> None:
    reason = RejectionReason.FILE_MISSING.value
    site.must(site.claim(), "finish", outcome="invalid", reason=reason, message="A file is missing.")


def left(site: Site, account: str = "alice") -> tuple[int | None, int | None, int | None]:
    view = site.get("/competitions/limited/quota", account)
    return view["today"]["left"], view["phase_total"]["left"], view["invalid_today"]["left"]


def test_entries_of_a_day_and_of_a_phase_are_bounded_for_each_account(site: Site) -> None:
    limited(site, per_day=2, total=3)
    assert left(site) == (2, 3, 100)
    enter(site)
    enter(site)
    error = refusal(site)
    assert "2 times today" in error["message"]
    assert "2026-06-02 00:00:00 UTC" in error["hint"]
    assert left(site) == (0, 1, 100)
    assert left(site, "bob") == (2, 3, 100)
    enter(site, "bob")
    site.clock.now = (START + DAY).replace(hour=0, minute=0, second=0, microsecond=0)
    assert left(site) == (2, 1, 100)
    enter(site)
    assert "3 entries in phase" in refusal(site)["message"]
    site.clock.now = START + 10 * DAY
    assert left(site) == (2, 3, 100), "another phase begins anew"


def test_what_ends_invalid_or_is_taken_back_before_it_is_scored_counts_no_longer(site: Site) -> None:
    limited(site, per_day=1)
    submission = enter(site)
    refusal(site)
    assert site.request("POST", f"/submissions/{submission}/withdraw", "alice").status_code == 200
    assert left(site)[0] == 1
    enter(site)
    end_invalid(site)
    assert left(site)[0] == 1
    scored = enter(site)
    job = site.claim()
    site.verify(job)
    site.score(site.claim(), 0.5)
    assert site.request("POST", f"/submissions/{scored}/withdraw", "alice").status_code == 200
    refusal(site)


def test_a_flood_of_invalid_entries_has_a_bound_of_its_own(site: Site) -> None:
    limited(site, invalid_per_day=2)
    for _ in range(2):
        enter(site)
        end_invalid(site)
    assert "2 entries of account alice ended invalid today" in refusal(site)["message"]
    site.clock.now = START + DAY
    enter(site)


def test_what_counts_is_receipt_and_not_registration(site: Site) -> None:
    """Drafts are free; of those that are uploaded at the same moment, only as many as there is room for are taken."""
    limited(site, per_day=2)
    drafts = [site.register("alice", competition="limited") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(response.status_code for response in pool.map(site.revise, drafts))
    assert statuses == [200, 200, 429, 429, 429, 429]
    refused = next(each for each in drafts if site.view(each, "alice")["processing"] == "draft")
    site.clock.now = START + DAY
    assert site.revise(refused).status_code == 200, "a draft that was refused for the day is taken on the next"


def test_the_quota_is_the_accounts_own_to_see_and_the_digest_of_a_competition_without_one_is_as_before(
    site: Site,
) -> None:
    assert site.request("GET", "/competitions/digits/quota").status_code == 401
    assert site.request("GET", "/competitions/nowhere/quota", "alice").status_code == 404
    phase = site.competition.phases[0]
    assert "quota" not in phase.model_dump()
    assert "quota" in phase.model_copy(update={"quota": Quota(per_day=1)}).model_dump()
