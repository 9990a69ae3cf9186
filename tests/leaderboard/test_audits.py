"""Audits on the leaderboard: the verdict is made again from the numbers, and nothing hidden becomes public by them."""

from __future__ import annotations

from typing import Any

import pytest

from competition.records.audit import Arm, AuditTarget, AuditVerdict
from competition.records.lifecycle import chain_is_intact
from competition.records.manifest import FileRole, ManifestFile
from competition.rules import Competition
from tests.leaderboard.audited import report, run
from tests.leaderboard.site import Site, manifest

FILES = [
    ManifestFile(path=f"{role.value}.bin", role=role, size=1, sha256=sha * 64).model_dump(mode="json")
    for role, sha in ((FileRole.SUBSET, "a"), (FileRole.MODEL, "b"))
]
LIKE = [run(5, (0.8, 0.81, 0.79, 0.8)), run(6, (0.79, 0.8, 0.78, 0.81))]
WORSE = [run(5, (0.5, 0.5, 0.5, 0.5)), run(6, (0.52, 0.5, 0.5, 0.5))]


def scored(site: Site, competition: str = "digits") -> str:
    """A scored entry (0.8 in every task) whose manifest names a subset and a model."""
    submission = site.enter(competition=competition)
    grant = site.claim()
    site.must(grant, "finish", outcome="verified", manifest=manifest(grant, files=FILES))
    site.score(site.claim(), 0.8)
    return submission


def with_secret(site: Site) -> Competition:
    """Digits with a hidden task that is not revealed, as part of the score."""
    *shown, last = site.competition.suite.tasks
    suite = site.competition.suite.model_copy(update={"tasks": (*shown, last.model_copy(update={"revealed": False}))})
    rules = site.competition.model_copy(update={"id": "secret", "suite": suite})
    site.publish(rules)
    return rules


def target(site: Site, submission: str) -> AuditTarget:
    return AuditTarget.model_validate(site.get(f"/scoring/audits/{submission}", "organiser"))


def send(site: Site, body: Any, account: str | None = "organiser") -> Any:
    return site.request("POST", f"/scoring/audits/{body.submission_id}", account, body.model_dump(mode="json"))


def kinds(site: Site, submission: str) -> list[str]:
    events = site.events(submission)
    assert chain_is_intact(events)
    return [f"{event.kind} {event.after}" for event in events]


def test_a_confirmed_entry_is_re_trained_once_and_shows_nothing_hidden(site: Site) -> None:
    secret = with_secret(site)
    submission = scored(site, "secret")
    known = target(site, submission)
    assert known.tasks["digits-hidden"] == known.score == 0.8
    made = report(known, LIKE)
    assert made.verdict is AuditVerdict.CONFIRMED
    for account in (None, "alice", "worker"):
        assert send(site, made, account).status_code in {401, 403}
    first = send(site, made)
    assert first.status_code == 200, first.text
    assert first.json()["tasks"].keys() == known.tasks.keys()  # an organiser sees all
    before = kinds(site, submission)
    assert before[-2:] == ["audit confirmed", "trust re_trained"]
    assert send(site, made).json() == first.json()
    again = made.model_copy(update={"version": target(site, submission).version})
    assert again != made, "the badge is a change of the entry"
    assert send(site, again).json() == first.json()
    assert kinds(site, submission) == before
    view = site.view(submission)
    assert (view["trust"], view["eligibility"]) == ("re_trained", "eligible")
    assert site.standings(competition=secret)["rows"][0]["trust"] == "re_trained"
    # The public sees the verdict, the seeds and the open tasks; the score is made of a hidden one too.
    (public,) = site.get(f"/submissions/{submission}/audits")
    event = next(event for event in site.events(submission) if event.kind == "audit")
    for shown in (public, event.detail):
        assert shown["score"] is None
        assert set(shown["tasks"]) == {"digits-test", "digits-shift", "digits-retrieval"}
        assert [(one["seed"], one["score"], len(one["tasks"])) for one in shown["runs"]] == [(5, None, 3), (6, None, 3)]
        assert [one["model_sha256"] for one in shown["runs"]] == [f"{5:064x}", f"{6:064x}"]
    assert event.detail["report_sha256"] == public["report_sha256"]
    assert event.detail["recipe_digest"] == made.recipe_digest


def test_an_entry_that_exceeds_is_flagged_with_a_reason_and_loses_the_badge(site: Site) -> None:
    submission = scored(site)
    assert send(site, report(target(site, submission), LIKE)).status_code == 200
    made = report(target(site, submission), WORSE)
    assert made.verdict is AuditVerdict.EXCEEDS
    assert send(site, made).status_code == 200
    view = site.view(submission)
    assert (view["trust"], view["eligibility"]) == ("re_evaluated", "flagged")
    assert site.standings()["rows"] == []
    last = site.events(submission)[-1]
    assert (last.kind, last.before, last.after) == ("eligibility", "eligible", "flagged")
    assert last.detail["reason"].startswith("The score exceeds what 2 trainings on the mirrored subset")
    # Every task is shown to everybody here, and so are the numbers.
    assert "a gain of +0.29" in last.detail["reason"]
    # An organiser's stronger word is not overwritten, and nobody is acquitted by an audit alone.
    more = [*LIKE, run(7, (0.8, 0.8, 0.8, 0.8))]
    assert send(site, report(target(site, submission), more)).status_code == 200
    view = site.view(submission)
    assert (view["trust"], view["eligibility"]) == ("re_trained", "flagged")


def test_other_verdicts_change_neither_badge_nor_table(site: Site) -> None:
    submission = scored(site)
    unlike = [run(5, (0.4,) * 4), run(6, (0.99,) * 4)]
    undecided = report(target(site, submission), unlike)
    assert undecided.verdict is AuditVerdict.UNDECIDED
    assert undecided.seeds_needed is None or undecided.seeds_needed > 2
    random = [run(7, (0.3,) * 4, Arm.RANDOM), run(8, (0.31,) * 4, Arm.RANDOM)]
    smaller = report(target(site, submission), [*LIKE, *random], scale="micro")
    assert smaller.verdict is AuditVerdict.ABOVE_RANDOM
    for made in (undecided, smaller):
        assert send(site, made.model_copy(update={"version": target(site, submission).version})).status_code == 200
    view = site.view(submission)
    assert (view["trust"], view["eligibility"]) == ("re_evaluated", "eligible")
    assert [kind for kind in kinds(site, submission) if kind.startswith("audit")] == [
        "audit undecided", "audit above_random",
    ]  # fmt: skip
    assert [audit["own_scale"] for audit in site.get(f"/submissions/{submission}/audits")] == [True, False]


def test_a_report_that_is_old_or_does_not_add_up_is_refused(site: Site) -> None:
    submission = scored(site)
    known = target(site, submission)
    made = report(known, WORSE)
    refused = {
        "verdict": AuditVerdict.CONFIRMED,
        "score": made.score.model_copy(update={"margin": 0.5}),
        "tasks": {},
        "subset_sha256": "c" * 64,
        "recipe_digest": "c" * 64,
        "scale": "micro",
        "runs": (WORSE[0], WORSE[1].model_copy(update={"score": 0.9})),
        "seeds_needed": 7,
    }
    before = kinds(site, submission)
    for field, value in refused.items():
        answer = send(site, made.model_copy(update={field: value}))
        assert answer.status_code == 422, (field, answer.text)
    stale = send(site, made.model_copy(update={"version": known.version - 1}))
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "conflict")
    assert kinds(site, submission) == before
    unscored = site.enter()
    assert site.request("GET", f"/scoring/audits/{unscored}", "organiser").status_code == 409
    assert site.request("GET", "/scoring/audits/sub-none", "organiser").status_code == 404
    assert site.request("POST", f"/submissions/{submission}/withdraw", "alice").status_code == 200
    assert send(site, made).status_code == 409


def test_two_runs_of_one_seed_and_one_of_the_entrys_seed_are_no_report(sqlite_site: Site) -> None:
    made = report(target(sqlite_site, scored(sqlite_site)), LIKE)
    for runs in ((LIKE[0], LIKE[0]), (LIKE[0], LIKE[1].model_copy(update={"seed": 0}))):
        with pytest.raises(ValueError, match="seed"):
            type(made).model_validate(made.model_dump() | {"runs": [one.model_dump() for one in runs]})
