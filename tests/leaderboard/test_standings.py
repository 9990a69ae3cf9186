"""Standings and lists over HTTP: who is shown, in which order, with what beside."""

from __future__ import annotations

import base64

import pytest
from sqlalchemy import event

from competition.records.lifecycle import Eligibility
from leaderboard.accounts.viewer import Act
from leaderboard.submissions import service
from tests.leaderboard.site import Site


def _mark(site: Site, submission: str, eligibility: Eligibility) -> None:
    with site.database.writing() as session:
        service.mark(session, submission, eligibility, "by the rules", Act("organiser", site.clock()))


def test_standings_rank_verified_entries_with_their_ranges(site: Site) -> None:
    accuracies = {0.4: 3, 0.9: 1, 0.6: 2}
    expected = {site.scored(accuracy): place for accuracy, place in accuracies.items()}
    site.enter()
    board = site.standings()
    assert {row["submission_id"]: row["rank"] for row in board["rows"]} == expected
    assert [row["rank"] for row in board["rows"]] == [1, 2, 3]
    first = board["rows"][0]
    assert first["score"]["value"] == pytest.approx(0.9)
    assert first["score"]["interval"]["low"] < 0.9 < first["score"]["interval"]["high"]
    assert (first["rank_low"], first["rank_high"], first["trust"]) == (1, 1, "re_evaluated")
    assert set(first["tasks"]) == {task["id"] for task in board["tasks"]}
    assert board["suite_digest"] == site.competition.suite.digest


def test_equal_scores_go_by_the_earlier_submission_and_share_their_range(site: Site) -> None:
    entered = []
    for _ in range(2):
        entered.append(site.scored(0.5))
        site.clock.advance(1)
    rows = site.standings()["rows"]
    assert [row["submission_id"] for row in rows] == entered
    assert [(row["rank_low"], row["rank_high"]) for row in rows] == [(1, 2), (1, 2)]


def test_baselines_are_shown_in_place_and_the_disqualified_not_at_all(site: Site) -> None:
    best, middle, worst, cheat = (site.scored(accuracy) for accuracy in (0.9, 0.6, 0.3, 0.95))
    _mark(site, middle, Eligibility.BASELINE)
    _mark(site, cheat, Eligibility.DISQUALIFIED)
    rows = site.standings()["rows"]
    assert [(row["submission_id"], row["rank"]) for row in rows] == [(best, 1), (middle, None), (worst, 2)]
    assert site.events(cheat)[-1].detail == {"reason": "by the rules"}
    assert site.view(cheat)["eligibility"] == "disqualified"


def test_no_public_entry_is_missing_from_the_page_of_its_board(site: Site) -> None:
    """Whoever is not in the table stands beside it, with the reason."""
    kinds = [Eligibility.LATE, Eligibility.FLAGGED, Eligibility.DISQUALIFIED, Eligibility.SUPERSEDED]
    entries = [site.scored(0.5) for _ in range(2 + len(kinds))]
    for submission, kind in zip(entries[2:], kinds, strict=True):
        _mark(site, submission, kind)
    page = site.http.get("/competitions/digits").text
    assert [page.count(f'id="entry-{entry}"') for entry in entries] == [1] * 2 + [0] * len(kinds)
    assert all(f"/submissions/{entry}" in page for entry in entries)
    for reason in ("after the last phase had closed", "are looking into it", "took it out", "A newer entry"):
        assert reason in page
    rules = site.competition
    suite = rules.suite.model_copy(update={"version": rules.suite.version + 1})
    site.publish(rules.model_copy(update={"version": rules.version + 1, "suite": suite}))
    page = site.http.get("/competitions/digits").text
    assert all(f"/submissions/{entry}" in page for entry in entries)
    assert page.count("It was scored under other rules") == 2


def test_entries_under_other_rules_are_not_compared(site: Site) -> None:
    old = site.scored(0.5)
    rules = site.competition
    renamed = rules.model_copy(update={"version": rules.version + 1, "title": "New title"})
    site.publish(renamed)
    assert [row["submission_id"] for row in site.standings()["rows"]] == [old], "the same suite and recipe"
    suite = rules.suite.model_copy(update={"version": rules.suite.version + 1})
    site.publish(rules.model_copy(update={"version": rules.version + 2, "suite": suite}))
    assert site.standings()["rows"] == []
    new = site.scored(0.6)
    assert [row["submission_id"] for row in site.standings()["rows"]] == [new]


def test_unknown_competitions_tracks_and_scales_are_named(sqlite_site: Site) -> None:
    for path, word in (
        ("/competitions/nope/standings?track=filtering&scale=nano", "nope"),
        ("/competitions/digits/standings?track=nope&scale=nano", "track"),
        ("/competitions/digits/standings?track=filtering&scale=nope", "scale"),
    ):
        response = sqlite_site.request("GET", path)
        assert response.status_code == 404
        assert word in response.json()["error"]["message"]
        assert response.json()["error"]["hint"]
    assert "scale" in sqlite_site.request("GET", "/competitions/digits/standings?track=filtering").text


def test_pages_of_submissions_neither_repeat_nor_leave_out(site: Site) -> None:
    entered = []
    for number in range(7):
        entered.append(site.enter("alice" if number % 2 else "bob"))
        site.clock.advance(number % 2)  # some at the same instant
    seen: list[str] = []
    cursor = ""
    while True:
        page = site.get(f"/submissions?limit=3{cursor}")
        seen += [item["id"] for item in page["items"]]
        assert len(page["items"]) <= 3
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(seen) == sorted(entered)
    assert len({item["id"] for item in site.get("/submissions?account=alice")["items"]}) == 3
    assert site.get("/submissions?processing=scored")["items"] == []
    assert len(site.get("/submissions?processing=received&competition=digits&scale=nano")["items"]) == 7


@pytest.mark.parametrize(
    "cursor",
    [
        *("x", "AAAA", "MjAyNi0wMS0wMSBh", "%00", "é", "MjAyNi0wMS0wMVQwMDowMDowMCswMDowMCA="),
        base64.urlsafe_b64encode(b"9999-12-31T23:59:59-23:59 sub-0").decode(),
        base64.urlsafe_b64encode(b"0001-01-01T00:00:00+23:59 sub-0").decode(),
    ],
)
def test_a_made_up_cursor_is_refused(sqlite_site: Site, cursor: str) -> None:
    response = sqlite_site.request("GET", f"/submissions?cursor={cursor}")
    assert response.status_code == 422
    assert "cursor" in response.json()["error"]["message"]


def test_the_number_of_queries_does_not_grow_with_the_entries(sqlite_site: Site) -> None:
    site = sqlite_site
    counts: list[int] = []
    statements: list[str] = []
    event.listen(site.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for _ in range(2):
        for _ in range(3):
            site.scored(0.5)
        statements.clear()
        site.standings()
        site.get("/submissions")
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_competitions_are_listed_with_the_digest_of_their_document(site: Site) -> None:
    [listed] = site.get("/competitions")
    assert listed == site.get("/competitions/digits")
    assert (listed["digest"], listed["open"]) == (site.competition.digest, True)
    assert type(site.competition).model_validate(listed["document"]) == site.competition
