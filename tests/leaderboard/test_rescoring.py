"""Re-scorings: old numbers stay public until the new ones are, all at once; nothing is evaluated twice or lost."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from competition.records.evaluation import Outcomes
from competition.records.lifecycle import chain_is_intact
from competition.rules import Aggregate, Competition, Suite, Task
from competition.rules.suite_changes import suite_changes
from competition.rules.suites import AverageRank
from competition.statistics import bootstrap_replicates
from leaderboard.scoring.results import unpack
from tests.leaderboard.site import LEASE, Site, result
from tests.leaderboard.web.conftest import HOSTILE
from tests.leaderboard.web.markup import check

TASKS = ("digits-test", "digits-shift", "digits-retrieval", "digits-hidden")
NEW = ("digits-test", "digits-shift", "digits-retrieval", "digits-extra")
"""Of the newer suite: the first two are kept, the third is scored by another metric, the last one is new."""


def newer(site: Site, version: int = 2, **changes: Any) -> Competition:
    """The competition's next version: a task is gone, one measured otherwise, one added, two are as they were."""
    old = site.competition.suite
    retrieval = old.task("digits-retrieval").model_copy(update={"metric": "image_retrieval_recall@1"})
    extra = Task(**{**old.task("digits-test").model_dump(), "id": "digits-extra", "metric": "acc5"})
    kept = old.task("digits-test").model_copy(update={"title": "Test digits, as before", "group": "other"})
    suite = Suite(
        id=old.id,
        version=version,
        tasks=(kept, old.task("digits-shift"), retrieval, extra),
        aggregates=(Aggregate(id="average", title="Average of 4 other tasks", tasks=NEW),),
        primary="average",
    )
    return site.competition.model_copy(update={"version": version, "suite": suite, **changes})


def request(document: Competition, **fields: Any) -> dict[str, Any]:
    return {"document": document.model_dump(mode="json"), **fields}


def post(site: Site, what: str, body: Any = None, account: str = "organiser", status: int = 200) -> Any:
    response = site.request("POST", f"/competitions/digits/rescorings{what}", account, body)
    assert response.status_code == status, response.text
    return response.json()


def begin(site: Site, document: Competition, **fields: Any) -> Any:
    return post(site, "", request(document, **fields))


def rescore(site: Site, grant: Any, document: Competition, accuracy: float, **score: float) -> None:
    """What a worker does with the job of a re-scoring."""
    order = grant["rescoring"]
    assert (order["suite_digest"], order["competition_digest"]) == (document.suite.digest, document.digest)
    for task in document.suite.tasks:
        if task.id in grant["finished_tasks"]:
            continue
        if task.id in order["taken_over"]:
            site.must(grant, "taken-over", task=task.id)
        else:
            site.must(grant, "stage", stage=task.id)
            site.must(grant, "results", result=result(task.id, task.metric, score.get(task.id, accuracy)))
    site.must(grant, "finish", outcome="scored")


def scored(site: Site, accuracy: float = 0.8, **changes: Any) -> str:
    """An entry that came after all others."""
    site.clock.advance(1)
    return site.scored(accuracy, **changes)


def scores(standings: Any) -> dict[str, float]:
    return {row["submission_id"]: row["score"]["value"] for row in standings["rows"]}


def check_plan(site: Site, document: Competition) -> None:
    plan = post(site, "/plan", request(document))
    assert plan["tasks"] == {
        "kept": ["digits-test", "digits-shift"],
        "changed": ["digits-retrieval"],
        "added": ["digits-extra"],
        "removed": ["digits-hidden"],
    }
    assert (plan["entries"], plan["evaluations"], plan["taken_over"]) == (2, 4, 4)
    # Every recorded task took 1.5 s: two that are known under their name, two by analogy.
    assert (plan["seconds"], plan["seconds_by_analogy"], plan["not_estimated"]) == (6.0, 3.0, 0)
    assert site.get("/competitions/digits/rescorings", "organiser") == [], "a plan stores nothing"


def check_published(site: Site, first: str, second: str, fresh: str) -> None:
    """Of an entry that had 0.8 and got 0.3 where it was evaluated again, one with 0.6 and 0.9, and one with 0.5."""
    after = site.standings()
    assert (after["competition_version"], after["suite"]) == (2, "digits@2")
    assert [column["id"] for column in after["tasks"]] == list(NEW)
    assert scores(after) == {second: pytest.approx(0.75), first: pytest.approx(0.55), fresh: pytest.approx(0.5)}
    sides = site.get(f"/submissions/{first}/evaluations")
    assert [evaluation["suite"] for evaluation in sides] == ["digits@1", "digits@2"]
    view = site.view(first)
    assert (view["suite"], view["processing"], view["trust"]) == ("digits@2", "scored", "re_evaluated")
    assert {each["task"]: each["score"]["value"] for each in view["results"]} == {
        **dict.fromkeys(NEW[:2], 0.8),
        **dict.fromkeys(NEW[2:], 0.3),
    }
    for submission in (first, second, fresh):
        events = site.events(submission)
        assert chain_is_intact(events)
        last = events[-1]
        assert (last.kind, last.before, last.after) == ("rescored", "digits@1", "digits@2")
        told = [event.detail["task"] for event in events if event.kind == "task_result"]
        assert told == [*TASKS, *NEW], "one result a task and suite"
        assert not {"score", "value"} & {key for event in events for key in event.detail}, "the log holds no score"


def check_report(report: Any, first: str, second: str, fresh: str) -> None:
    rows = {row["submission_id"]: row for row in report["entries"]}
    assert [(row["submission_id"], row["rank_before"], row["rank_after"]) for row in report["entries"]] == [
        (second, 2, 1),
        (first, 1, 2),
        (fresh, 3, 3),
    ]
    assert rows[first]["before"]["value"] == pytest.approx(0.8)
    assert rows[first]["after"]["value"] == pytest.approx(0.55)
    assert rows[first]["after"]["interval"]["low"] < 0.55 < rows[first]["after"]["interval"]["high"]
    assert [task["task"] for task in rows[first]["tasks"] if task["taken_over"]] == ["digits-test", "digits-shift"]
    assert report["missing"] == []


def check_pages(site: Site, number: int, submission: str) -> None:
    """The report, the standings and the entry say the same to people; a hostile name stays text."""
    pages = [
        site.http.get(path).text
        for path in (f"/competitions/digits/rescorings/{number}", "/competitions/digits", f"/submissions/{submission}")
    ]
    for page in pages:
        check(page)
        assert HOSTILE not in page
    report, board, entry = (" ".join(check(page).one("main").text.split()) for page in pages)
    assert "From digits@1 to digits@2" in report
    assert HOSTILE in report
    assert f"/competitions/digits/rescorings/{number}" in pages[1]
    assert "Suite digits@2 came after digits@1" in board
    assert "Under every suite" in entry
    assert "Scored under suite digits@2; the score under digits@1 is kept beside it" in entry
    assert site.http.get(f"/competitions/digits/rescorings/{number + 1}").status_code == 404


def test_old_numbers_stay_public_until_new_ones_are_and_both_stand_side_by_side(site: Site) -> None:
    first, second = scored(site, 0.8, method_name=HOSTILE), scored(site, 0.6)
    document = newer(site)
    check_plan(site, document)
    opened = begin(site, document)
    assert begin(site, document) == opened, "the same request again changes nothing"
    fresh = site.enter()
    before = site.standings()
    seen = site.view(first)
    intake = site.claim()
    assert intake["submission_id"] == fresh, "fresh entries go first"
    site.verify(intake)
    grant = site.claim()
    assert (grant["submission_id"], grant["rescoring"]) == (fresh, None)
    site.score(grant, 0.5)
    grants = [site.claim(), site.claim()]
    assert [grant["submission_id"] for grant in grants] == [first, second]
    assert grants[0]["suite_digest"] == site.competition.suite.digest, "the entry's own registration"
    assert site.claim() is None
    rescore(site, grants[0], document, 0.3)
    assert post(site, f"/{opened['id']}/publish", {}, status=409)["error"]["message"].startswith("Re-scoring 1 has 1 ")
    rescore(site, grants[1], document, 0.9)

    now = site.standings()
    assert scores(now) == {**scores(before), fresh: pytest.approx(0.5)}
    assert site.view(first) == seen, "nothing of the re-scoring shows"
    assert site.request("GET", f"/competitions/digits/rescorings/{opened['id']}").status_code == 404
    refused = post(site, f"/{opened['id']}/publish", {}, status=409)
    assert fresh in refused["error"]["message"], "the entry that was scored in the meantime would leave the table"
    begin(site, document)
    rescore(site, site.claim(), document, 0.5)
    drafted = site.get(f"/competitions/digits/rescorings/{opened['id']}", "organiser")
    published = post(site, f"/{opened['id']}/publish", {})
    assert published["state"] == "published"
    assert post(site, f"/{opened['id']}/publish", {}) == published

    report = site.get(f"/competitions/digits/rescorings/{opened['id']}")
    assert report["entries"] == drafted["entries"], "what was foretold has come"
    check_report(report, first, second, fresh)
    check_published(site, first, second, fresh)
    check_pages(site, opened["id"], first)


def test_a_result_that_is_taken_over_keeps_its_value_and_gets_the_newer_suites_random_numbers(site: Site) -> None:
    submission = scored(site, 0.8)
    document = newer(site)
    begin(site, document)
    grant = site.claim()
    assert site.say(grant, "taken-over", task="digits-retrieval").status_code == 422, "it is measured otherwise"
    site.must(grant, "taken-over", task="digits-test")
    site.must(grant, "taken-over", task="digits-test")
    assert site.say(grant, "finish", outcome="scored").status_code == 409
    query = text(
        "SELECT suite_digest, value, low, high, digest, outcomes, task_results.replicates FROM task_results "
        "JOIN evaluations ON evaluations.id = evaluation_id WHERE task = 'digits-test' ORDER BY task_results.id"
    )
    with site.database.reading() as session:
        old, new = session.execute(query).all()
    assert old[1:6] == new[1:6]
    assert new.suite_digest == document.suite.digest
    parts = result("digits-test", "acc1", 0.8)["outcomes"]
    outcomes = [Outcomes.model_validate(part).decode() for part in parts]
    expected = bootstrap_replicates(outcomes, seed_text=document.suite.digest)
    assert np.allclose(unpack(new.replicates), expected, atol=1e-6)
    assert not np.array_equal(unpack(new.replicates), unpack(old.replicates))
    assert chain_is_intact(site.events(submission))


def test_a_lost_worker_and_a_failing_entry_leave_the_old_score_and_block_publishing(site: Site) -> None:
    first, second, third = scored(site, 0.8), scored(site, 0.6), scored(site, 0.4)
    document = newer(site)
    number = begin(site, document)["id"]
    lost = site.claim()
    site.must(lost, "taken-over", task="digits-test")
    site.clock.advance(LEASE + 1)
    again = site.claim()
    assert again["submission_id"] == second, "the job that was lost waits"
    assert site.say(lost, "taken-over", task="digits-shift").status_code == 409, "its attempt is over"
    rescore(site, again, document, 0.9)
    site.must(site.claim(), "finish", outcome="invalid", reason="model_not_finite", message="a NaN")
    for _ in range(2):  # of three tries; the lost one brought a result and counts as the first
        site.clock.advance(3600)
        grant = site.claim()
        assert (grant["submission_id"], grant["finished_tasks"]) == (first, ["digits-test"])
        site.must(grant, "finish", outcome="failed", message="no disk")
    site.clock.advance(3600)
    assert site.claim() is None
    report = site.get(f"/competitions/digits/rescorings/{number}", "organiser")
    progress = {name: count for name, count in report["rescoring"]["progress"].items() if count}
    assert progress == {"total": 3, "done": 1, "failed": 2}
    failures = {row["submission_id"]: row["failure"] for row in report["entries"]}
    assert "no disk" in failures[first]
    assert failures[third] == "model_not_finite: a NaN"
    assert [site.view(entry)["processing"] for entry in (first, second, third)] == ["scored"] * 3
    assert scores(site.standings()) == {first: 0.8, second: pytest.approx(0.6), third: pytest.approx(0.4)}
    assert (
        "2 entries of the table have no score" in post(site, f"/{number}/publish", {}, status=409)["error"]["message"]
    )

    begin(site, document)
    grant = site.claim()
    assert (grant["submission_id"], grant["finished_tasks"]) == (first, ["digits-test"]), "what was accepted stays"
    rescore(site, grant, document, 0.7)
    site.must(site.claim(), "finish", outcome="invalid", reason="model_not_finite", message="a NaN")
    post(site, f"/{number}/publish", {"allow_missing": True})
    assert set(scores(site.standings())) == {first, second}
    public = site.get(f"/competitions/digits/rescorings/{number}")
    assert [each["submission_id"] for each in public["missing"]] == [third]
    assert site.view(third)["suite"] == "digits@1"
    assert [each["suite"] for each in site.get(f"/submissions/{third}/evaluations")] == ["digits@1"]
    for entry in (first, second, third):
        assert chain_is_intact(site.events(entry))


def test_a_cancelled_rescoring_leaves_nothing_public_and_a_later_one_goes_on_with_what_it_had(site: Site) -> None:
    first, second = scored(site, 0.8), scored(site, 0.6)
    before = site.standings()
    number = begin(site, newer(site))["id"]
    other = post(site, "", request(newer(site), fresh=True), status=409)
    assert "is open" in other["error"]["message"]
    rescore(site, site.claim(), newer(site), 0.1)
    grant = site.claim()
    site.must(grant, "taken-over", task="digits-test")
    assert post(site, f"/{number}/cancel")["state"] == "cancelled"
    assert post(site, f"/{number}/cancel")["state"] == "cancelled"
    assert site.say(grant, "taken-over", task="digits-shift").status_code == 409
    assert post(site, f"/{number}/publish", {}, status=409)["error"]["message"] == "Re-scoring 1 was cancelled."
    assert site.claim() is None
    assert {**site.standings(), "generated_at": ""} == {**before, "generated_at": ""}
    assert site.get("/competitions/digits/rescorings") == []
    assert [each["suite"] for each in site.get(f"/submissions/{first}/evaluations")] == ["digits@1"]

    again = begin(site, newer(site))
    grants = {grant["submission_id"]: grant for grant in (site.claim(), site.claim())}
    assert sorted(grants[first]["finished_tasks"]) == sorted(NEW)
    assert grants[second]["finished_tasks"] == ["digits-test"]
    site.must(grants[first], "finish", outcome="scored")
    assert site.request("POST", f"/submissions/{second}/withdraw", "alice").status_code == 200
    assert site.say(grants[second], "heartbeat").status_code == 409, "work on a withdrawn entry stops"
    post(site, f"/{again['id']}/publish", {})
    assert scores(site.standings()) == {first: pytest.approx(0.45)}
    report = site.get(f"/competitions/digits/rescorings/{again['id']}")
    assert [row["submission_id"] for row in report["entries"]] == [first], "a withdrawn entry's numbers are not told"
    assert site.get(f"/submissions/{second}/evaluations") == []


def test_readers_see_the_old_table_or_the_new_one_and_never_a_mixture(site: Site) -> None:
    entries = [scored(site, 0.5 + 0.05 * number) for number in range(6)]
    document = newer(site)
    number = begin(site, document)["id"]
    for _ in entries:
        rescore(site, site.claim(), document, 0.2)
    old = scores(site.standings())
    seen: list[tuple[int, dict[str, float], str, int]] = []
    problems: list[str] = []
    done = threading.Event()

    def read() -> None:
        while True:
            last = done.is_set()
            try:
                table, page = site.standings(), site.http.get("/competitions/digits").text
            except Exception as error:  # noqa: BLE001 (a thread's failure must reach the test)
                problems.append(repr(error))
                return
            seen.append((table["competition_version"], scores(table), table["suite"], page.count("/submissions/")))
            if last:
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    while not seen:
        assert not problems, problems
    post(site, f"/{number}/publish", {})
    done.set()
    for reader in readers:
        reader.join()
    assert problems == []
    new = scores(site.standings())
    assert set(new) == set(old)
    assert new != old
    for version, table, suite, rows in seen:
        assert (table, suite) == ((old, "digits@1") if version == 1 else (new, "digits@2"))
        assert rows >= len(entries), "no entry leaves the page on the way"
    assert {version for version, *_rest in seen} == {1, 2}


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (lambda document: document.model_copy(update={"id": "other"}), 400, "is of competition 'other'"),
        (lambda document: document.model_copy(update={"version": 1}), 409, "with another content"),
        (
            lambda document: document.model_copy(update={"suite": document.suite.model_copy(update={"version": 1})}),
            409,
            "Suite digits@1 was published with another content",
        ),
    ],
)
def test_a_document_that_cannot_follow_is_refused(sqlite_site: Site, change: Any, status: int, words: str) -> None:
    scored(sqlite_site)
    for where in ("", "/plan"):
        refused = post(sqlite_site, where, request(change(newer(sqlite_site))), status=status)
        assert words in refused["error"]["message"]


def test_only_organisers_rescore_and_filters_and_new_recipes_leave_entries_out(sqlite_site: Site) -> None:
    site = sqlite_site
    nano, micro = scored(site), scored(site, scale="micro")
    document = newer(site)
    for account, status in (("alice", 403), ("worker", 403), (None, 401)):
        for what in ("", "/plan", "/1/publish", "/1/cancel"):
            response = site.request("POST", f"/competitions/digits/rescorings{what}", account, request(document))
            assert response.status_code == status
    plan = post(site, "/plan", request(document, scale="nano"))
    assert plan["entries"] == 1
    assert [(each["submission_id"], each["reason"]) for each in plan["left_out"]] == [
        (micro, "not of scale 'nano', which alone is re-scored")
    ]
    assert post(site, "/plan", request(document, phase="public"))["entries"] == 2
    assert "no phase" in post(site, "/plan", request(document, phase="x"), status=400)["error"]["message"]
    changed = document.recipes[1].model_copy(update={"samples_seen": 48000})
    other = document.model_copy(update={"recipes": (document.recipes[0], changed)})
    plan = post(site, "/plan", request(other))
    assert (plan["entries"], plan["left_out"][0]["submission_id"]) == (1, micro)
    assert "trained anew" in plan["left_out"][0]["reason"]
    fresh = post(site, "/plan", request(document, scale="nano", fresh=True))
    assert (fresh["evaluations"], fresh["taken_over"]) == (4, 0)

    number = begin(site, document, scale="nano")["id"]
    rescore(site, site.claim(), document, 0.5)
    assert micro in post(site, f"/{number}/publish", {}, status=409)["error"]["message"]
    post(site, f"/{number}/publish", {"allow_missing": True})
    # What was left behind can follow under the version that is the newest now.
    later = begin(site, document)
    assert later["progress"]["total"] == 1
    rescore(site, site.claim(), document, 0.5)
    post(site, f"/{later['id']}/publish", {})
    report = site.get(f"/competitions/digits/rescorings/{later['id']}")
    assert [(row["submission_id"], row["rank_before"], row["rank_after"]) for row in report["entries"]] == [
        (micro, None, 1)
    ]
    assert site.get(f"/competitions/digits/rescorings/{number}")["missing"] == []
    assert nano in scores(site.standings(competition=document))


def test_hidden_tasks_show_in_no_report(sqlite_site: Site) -> None:
    site = sqlite_site
    submission = scored(site, 0.8)
    old = newer(site)
    secret = old.suite.tasks[3].model_copy(update={"hidden": True, "revealed": False})
    document = old.model_copy(update={"suite": old.suite.model_copy(update={"tasks": (*old.suite.tasks[:3], secret)})})
    number = begin(site, document)["id"]
    rescore(site, site.claim(), document, 0.25)
    post(site, f"/{number}/publish", {})
    public = site.get(f"/competitions/digits/rescorings/{number}")["entries"][0]
    assert (public["before"]["value"], public["after"], public["rank_after"]) == (pytest.approx(0.8), None, None)
    assert "digits-extra" not in [task["task"] for task in public["tasks"]]
    assert site.get(f"/submissions/{submission}/evaluations")[1]["score"] is None
    whole = site.get(f"/competitions/digits/rescorings/{number}", "organiser")["entries"][0]
    assert whole["after"]["value"] == pytest.approx((0.8 * 2 + 0.25 * 2) / 4)
    assert whole["tasks"][3]["after"]["value"] == 0.25


def test_scores_that_all_entries_make_together_are_told_as_of_the_publication(sqlite_site: Site) -> None:
    site = sqlite_site
    first, second = scored(site, 0.8), scored(site, 0.6)
    plain = newer(site)
    ranked = plain.suite.aggregates[0].model_copy(update={"rule": AverageRank(kind="average_rank")})
    document = plain.model_copy(update={"suite": plain.suite.model_copy(update={"aggregates": (ranked,)})})
    number = begin(site, document)["id"]
    # Of the four tasks the first entry leads in the two that were kept, and the second in the new one.
    rescore(site, site.claim(), document, 0.7, **{"digits-extra": 0.5})
    rescore(site, site.claim(), document, 0.6, **{"digits-extra": 0.6})
    post(site, f"/{number}/publish", {})
    third = site.enter()
    site.verify(site.claim())
    grant = site.claim()
    for task in document.suite.tasks:
        site.must(grant, "results", result=result(task.id, task.metric, 0.95))
    site.must(grant, "finish", outcome="scored")
    assert scores(site.standings(competition=document)) == {third: 1.0, first: 2.25, second: 2.75}
    report = site.get(f"/competitions/digits/rescorings/{number}")
    told = [
        (row["submission_id"], row["after"], row["rank_after"], row["before"]["value"]) for row in report["entries"]
    ]
    assert told == [
        (first, {"value": 1.25, "interval": None}, 1, 0.8),
        (second, {"value": 1.75, "interval": None}, 2, pytest.approx(0.6)),
    ]


def test_workers_and_lists_may_be_narrowed_to_some_entries(site: Site) -> None:
    nano = site.enter()
    site.clock.advance(60)
    micro = site.enter(scale="micro")
    received = {"received_from": site.clock().isoformat()}
    path = f"/submissions?competition=digits&received_before={received['received_from'].replace('+', '%2B')}"
    assert [item["id"] for item in site.get(path)["items"]] == [nano]

    def claim(**only: str) -> Any:
        response = site.request("POST", "/scoring/claims", "worker", {"worker": "w", "only": only})
        assert response.status_code in {200, 204}, response.text
        return response.json()["submission_id"] if response.status_code == 200 else None

    assert claim(competition="other") is None
    assert claim(scale="micro", received_before=received["received_from"]) is None
    assert claim(competition="digits", track="filtering", **received) == micro
    assert claim(scale="micro") is None
    assert claim() == nano
    edge = {"worker": "w", "only": {"received_from": "0001-01-01T00:00:00+14:00"}}
    assert site.request("POST", "/scoring/claims", "worker", edge).status_code == 422


def test_a_replay_leaves_a_note_and_nothing_else(sqlite_site: Site) -> None:
    site = sqlite_site
    submission = scored(site)
    before = site.view(submission)
    note = {
        "suite_digest": site.competition.suite.digest,
        "tasks": 4,
        "differing": ["digits-shift"],
        "worker": "w",
        "code_version": "1",
    }
    path = f"/submissions/{submission}/replays"
    assert site.request("POST", path, "worker", note).status_code == 403
    assert site.request("POST", path, "organiser", {**note, "suite_digest": "0" * 64}).status_code == 409
    assert site.request("POST", path, "organiser", note).status_code == 204
    event = site.events(submission)[-1]
    assert (event.kind, event.detail["outside_tolerance"], event.detail["differing"]) == ("replayed", 1, "digits-shift")
    assert site.view(submission) == before
    assert chain_is_intact(site.events(submission))


def test_what_is_said_of_a_task_changes_no_measurement_and_what_is_measured_does(sqlite_site: Site) -> None:
    old = sqlite_site.competition.suite
    said = {"title": "x", "description": "y", "group": "z", "hidden": True, "revealed": False, "chance": 0.5}
    renamed = old.model_copy(update={"tasks": tuple(task.model_copy(update=said) for task in old.tasks)})
    assert suite_changes(old, renamed).kept == TASKS
    for change in ({"dataset": "other"}, {"metric": "acc5"}, {"revision": "r2"}, {"samples": 1}):
        moved = old.model_copy(update={"tasks": (old.tasks[0].model_copy(update=change), *old.tasks[1:])})
        assert suite_changes(old, moved).changed == (TASKS[0],)
    assert suite_changes(old, old.model_copy(update={"precision": "bf16"})).changed == TASKS
