"""An entry's page tells of its audits: verdict, numbers and seeds, and of none that nobody may see."""

from __future__ import annotations

from competition.records.audit import Arm, AuditReport, AuditVerdict, AuditView, sentence
from competition.records.lifecycle import Trust
from leaderboard.web import rendering, timeline
from leaderboard.web.rendering import Entry
from tests.leaderboard.audited import report, run, target
from tests.leaderboard.web import records
from tests.leaderboard.web.markup import check

TITLES = {task.id: task.title for task in records.DIGITS.suite.tasks}


def view(made: AuditReport, *, shown: bool = True) -> AuditView:
    runs = [one.model_copy(update={} if shown else {"score": None}) for one in made.runs]
    return AuditView(
        report_sha256="e" * 64, recorded_at=records.START, scale=made.scale, own_scale=made.scale == "nano",
        verdict=made.verdict, sentence=sentence(made, shown=shown), bar=made.bar, score=made.score if shown else None,
        tasks=made.tasks, runs=runs, missing=made.missing, seeds_needed=made.seeds_needed,
    )  # fmt: skip


def main_of(*audits: AuditView, trust: Trust = Trust.RE_TRAINED) -> str:
    page = Entry(records.DIGITS, records.submission(1, trust=trust), [], records.sample_standings(), audits=audits)
    return " ".join(check(rendering.entry(page, records.PLACE)).one("main").text.split())


def test_the_page_shows_badge_verdict_numbers_and_seeds() -> None:
    confirmed = report(target(0.8), [run(5, (0.8, 0.81, 0.79, 0.8)), run(6, (0.79, 0.8, 0.78, 0.81))])
    text = main_of(view(confirmed))
    for expected in ("Re-trained", "Audits", "Confirmed", "within seed noise of 2 trainings", "Test digits", "seed 5"):
        assert expected in text
    assert f"0.8000 against a mean of {confirmed.score.mean:.4f}" in text
    assert "Average of 4 tasks0.8000.798+0.0020.034" in text
    assert "Audits" not in main_of()

    hidden = main_of(view(confirmed, shown=False))
    assert "against a mean" not in hidden
    assert "0.8000.798" not in hidden


def test_a_smaller_scale_is_said_to_be_one() -> None:
    runs = [run(seed, (value,) * 4, arm) for arm, value in ((Arm.SUBSET, 0.7), (Arm.RANDOM, 0.4)) for seed in (5, 6)]
    made = report(target(0.8, "micro"), runs, scale="nano")
    assert made.verdict is AuditVerdict.ABOVE_RANDOM
    text = main_of(view(made).model_copy(update={"own_scale": False}), trust=Trust.RE_EVALUATED)
    assert "Its subset against random subsets, scale nano" in text
    assert "4 trainings on the mirrored" not in text
    assert "2 trainings on the mirrored subset at scale 'nano' score more than as many on random subsets" in text


def test_the_log_tells_of_an_audit_in_words() -> None:
    detail = {
        "reason": "It exceeds.",
        "scale": "nano",
        "report_sha256": "e" * 64,
        "runs": [],
        "recipe_digest": "f" * 64,
    }
    events = records.events(
        [
            ("audit", None, "exceeds", detail),
            ("trust", "re_trained", "re_evaluated", {}),
            ("eligibility", "eligible", "flagged", {"reason": "It exceeds."}),
            ("audit", None, "undecided", {}),
        ]
    )
    told = [(moment.title, moment.note, moment.tone) for moment in timeline.moments(events, TITLES)]
    assert told == [
        ("Audited: trained again on its subset: exceeds", "It exceeds.", "bad"),
        ("Badge: re evaluated", "", "plain"),
        ("Eligibility changed: flagged", "It exceeds.", "plain"),
        ("Audited: trained again on its subset: undecided", "", "plain"),
    ]
