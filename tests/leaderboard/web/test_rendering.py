"""Every page is well-formed, usable without seeing it, and shows names as they are, whatever they hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from competition.errors import RejectionReason
from competition.records.lifecycle import Eligibility, Processing, Trust, Visibility
from competition.records.standings import StandingsTask
from competition.records.submission import NearCopyNotice, Rejection, ReportedGapNotice, Score, Withdrawal
from competition.rules import Aggregate, EntryData, find_competition
from leaderboard.web import rendering
from leaderboard.web.rendering import Board, CompetitionCard, Counts, Entry
from leaderboard.web.templating import Place
from tests.competition.evaluation.predicted import guessing
from tests.competition.verification.entries import tiny_competition
from tests.leaderboard.web import records
from tests.leaderboard.web.markup import check

HUB = "https://huggingface.co"
COUNTS = Counts(scored=5, in_progress=1, invalid=1)


def board(view=None, beside=()) -> Board:
    competition = records.DIGITS
    view = records.sample_standings() if view is None else view
    return Board(competition, competition.tracks[0], competition.scales[0], view, COUNTS, beside)


def entry_page(submission, events=None, view=None) -> str:
    page = Entry(records.DIGITS, submission, events or [], records.sample_standings() if view is None else view)
    return rendering.entry(page, records.PLACE)


def test_the_home_page_lists_competitions_with_their_leaders():
    page = check(rendering.home([CompetitionCard(records.DIGITS, records.sample_standings(), COUNTS)], records.PLACE))
    assert "Handwritten digits" in page.one("main").text
    assert "Dedup + agreement" in page.one("table").text


def test_the_home_page_without_competitions_and_without_entries():
    check(rendering.home([], records.PLACE))
    check(rendering.home([CompetitionCard(records.DIGITS, records.standings([]), Counts())], records.PLACE))


def test_the_standings_say_value_interval_rank_range_and_trust():
    page = check(rendering.standings(board(), records.PLACE))
    text = " ".join(page.one("table").text.split())
    for expected in ("0.805 ±plus or minus 0.019", "1–2", "Re-evaluated", "Re-trained", "Baseline", "unscored"):
        assert expected in text
    assert "Ranks 1–2 are not separable" in text
    labels = [svg.attributes.get("aria-label") for svg in page.all("svg")]
    assert "Dedup + agreement: 0.805, 95 % interval 0.786 to 0.825" in labels


def test_the_best_of_a_column_is_marked_in_words():
    page = check(rendering.standings(board(), records.PLACE))
    marked = [cell for cell in page.all("td") if "best in this column" in cell.text]
    assert len(marked) == 1 + len(records.DIGITS.suite.tasks)


def _distances():
    """A board of distances: none has an interval, the least is the first, and one of two columns is a share."""
    tasks = [
        StandingsTask(
            id="fid", title="Distance", metric="fid", samples=9, chance=None, hidden=False, less_is_better=True
        ),
        StandingsTask(id="share", title="Share", metric="clip_iqa", samples=9, chance=None, hidden=False),
    ]
    rows = []
    for rank, value in enumerate((7.25, 123.4), start=1):
        bare = Score(value=value, interval=None)
        scores = {"fid": bare, "share": Score(value=value / 200, interval=None)}
        rows.append(
            records.row(rank, (0.5,) * 4, (rank, None, None)).model_copy(update={"score": bare, "tasks": scores})
        )
    return records.standings(rows).model_copy(update={"tasks": tasks, "less_is_better": True})


def test_scores_without_intervals_are_shown_as_values_and_their_order_as_not_known():
    page = check(rendering.standings(board(_distances()), records.PLACE))
    text = " ".join(page.one("table").text.split())
    assert "less is better" in text
    assert "Ranks 1–2 by the value alone" in text
    assert "±plus or minus" not in text
    assert "0.036" in text, "a share without an interval"
    assert text.count("true rank not known") == 2
    best = [cell for cell in page.all("td") if "best in this column" in cell.text]
    assert ["7.250" in cell.text for cell in best] == [True, True, False], "of a share more is better"
    labels = [svg.attributes.get("aria-label") for svg in page.all("svg")]
    assert "Method 1: 7.250, no interval known" in labels
    assert "Distance: 7.250, no interval known" not in labels, "no share is drawn on an axis from 0 to 1"
    assert "Share: 0.036, no interval known" in labels
    home = check(rendering.home([CompetitionCard(records.DIGITS, _distances(), COUNTS)], records.PLACE))
    assert "less is better" in home.one("table").text


def test_an_entry_without_intervals_says_so():
    results = [each.model_copy(update={"score": Score(value=31.4, interval=None)}) for each in records.results()]
    page = check(entry_page(records.submission(1).model_copy(update={"results": results}), view=_distances()))
    text = " ".join(page.one("main").text.split())
    for expected in ("7.250", "interval not known", "range not known", "no interval", "not on this axis"):
        assert expected in text
    assert "±plus or minus" not in text


def test_the_page_says_what_the_score_is_by_any_rule():
    digits = records.DIGITS
    ids = [task.id for task in digits.suite.tasks]
    rules = {
        "mean": {"kind": "mean"},
        "mean over groups": {"kind": "mean_of_groups"},
        "divided by a baseline": {"kind": "relative_to_baseline", "baseline": "B", "scores": dict.fromkeys(ids, 0.5)},
        "guessing is 0": {"kind": "chance_centred"},
        "mean of an entry's ranks": {"kind": "average_rank"},
    }
    for words, rule in rules.items():
        total = Aggregate.model_validate({"id": digits.suite.primary, "title": "T", "tasks": ids, "rule": rule})
        suite = digits.suite.model_copy(update={"aggregates": (total,)})
        shown = replace(board(), competition=digits.model_copy(update={"suite": suite}))
        assert words in check(rendering.standings(shown, records.PLACE)).one("main").text


def test_a_board_of_many_tasks_keeps_every_column():
    shape = {"metric": "acc1", "samples": 9, "chance": None, "hidden": False}
    tasks = [StandingsTask(id=f"t{number}", title=f"Task {number}", **shape) for number in range(38)]
    row = records.row(1, (0.9, 0.8, 0.7, 0.6), (1, 1, 1))
    row = row.model_copy(update={"tasks": {task.id: records.score(0.5) for task in tasks}})
    view = records.standings([row]).model_copy(update={"tasks": tasks})
    page = check(rendering.standings(board(view), records.PLACE))
    assert [header.text.strip() for header in page.all("th")].count("Task 37") == 1


def test_an_empty_board_invites():
    page = check(rendering.standings(board(records.standings([])), records.PLACE))
    assert not page.all("table")
    assert "Nobody is ranked here yet" in page.one("main").text


def test_the_notice_of_the_competition_is_shown():
    for html in (
        rendering.standings(board(), records.PLACE),
        rendering.take_part(records.DIGITS, records.PLACE, HUB),
    ):
        assert records.DIGITS.notice.strip() in check(html).one("main").text


def test_a_refused_entry_shows_its_reason_and_what_to_do_on_the_board():
    refused = records.refused()
    assert refused.rejection is not None
    text = check(rendering.standings(board(beside=[refused]), records.PLACE)).one("main").text
    assert refused.rejection.message in text
    assert refused.rejection.hint.replace("`", "") in text


@pytest.mark.parametrize("processing", list(Processing))
def test_an_entry_in_every_state(processing):
    reason = RejectionReason.FILE_MISSING
    rejection = Rejection(reason=reason, message="No model.", hint=reason.hint) if processing == "invalid" else None
    failure = "The disk broke." if processing == "failed" else None
    submission = records.submission(1, processing, rejection=rejection, failure=failure)
    page = check(entry_page(submission, records.scored_events()))
    check(rendering.standings(board(beside=[submission]), records.PLACE))
    if rejection:
        assert "Refused: file missing" in page.one("main").text
    if failure:
        assert "The platform failed, not the entry" in page.one("main").text


def test_every_rejection_reason_is_explained():
    """To those whom it may concern: of data of one's own and of predictions only where these are entered."""
    explained = set()
    for rules in (records.DIGITS, guessing(), find_competition("datacomp")):
        text = check(rendering.take_part(rules, records.PLACE, HUB)).one("main").text
        told = {reason for reason in RejectionReason if reason.value in text}
        assert all(reason.hint.replace("`", "") in text for reason in told)
        explained |= told
        own = any(track.data is EntryData.OWN for track in rules.tracks)
        assert (RejectionReason.EXTERNAL_TOO_LARGE in told) == own
    assert explained == set(RejectionReason)


def test_who_takes_part_in_a_competition_that_is_not_built_in_is_told_to_name_its_file():
    page = check(rendering.take_part(tiny_competition(), records.PLACE, HUB))
    text = " ".join(page.one("main").text.split())
    shown = " ".join(block.text for block in page.all("pre")).replace("\\\n", " ")
    assert "FILE below stands for the path of the competition's YAML file" in text
    assert "pool build" not in shown
    assert "quickstart" not in shown
    assert "datacup train --competition FILE " in shown
    assert "datacup evaluate --train-output-dir runs/clip_score --suite FILE" in shown
    assert "datacup submit --competition FILE " in shown
    assert "--metadata-dir pools/tiny-pool/metadata --method-name" in " ".join(shown.split())
    assert "FILE" not in check(rendering.take_part(records.DIGITS, records.PLACE, HUB)).one("main").text


def test_an_entry_that_is_only_announced():
    nothing = {"revision": None, "path": None, "subset_samples": None, "subset_unique": None, "description": ""}
    check(entry_page(records.submission(1, Processing.DRAFT, **nothing), view=records.standings([])))


def test_an_entry_of_a_board_that_the_newest_rules_no_longer_have():
    page = Entry(records.DIGITS, records.submission(1, scale="gone", track="gone"), [], None)
    check(rendering.entry(page, records.PLACE))


def test_a_withdrawn_entry_leaves_a_tombstone():
    taken_back = Withdrawal(at=records.START, by_author=True, reason="a secret reason")
    view = records.submission(1, visibility=Visibility.WITHDRAWN, withdrawal=taken_back)
    text = check(entry_page(view, records.scored_events())).one("main").text
    assert "Withdrawn by its author on 5 Jan 2026" in text
    assert "Unbroken." in text
    for hidden in (view.method_name, view.author, view.description, view.repo, "a secret reason", "Result accepted"):
        assert hidden not in text
    by_others = taken_back.model_copy(update={"by_author": False})
    assert "Withdrawn by the organisers" in entry_page(view.model_copy(update={"withdrawal": by_others}))


def test_what_was_found_of_an_entry_is_on_its_page_in_words():
    found = [
        NearCopyNotice(other="s2", other_account="jo", distance=0.00123, at=records.START),
        NearCopyNotice(other=None, other_account=None, distance=0.0, at=records.START),
        ReportedGapNotice(task="digits-test", title="Test digits", reported=1e300, verified=0.5, at=records.START),
    ]
    page = check(entry_page(records.submission(1, notices=found)))
    text = page.one("main").text
    for words in (
        "nearly those of entry s2 of account jo, which was verified before it (relative distance 0.0012)",
        "nearly those of another entry",
        "Test digits: its authors report 1e+300, verified was 0.500.",
        "It changes no score.",
    ):
        assert words in text
    assert "/submissions/s2" in [link.attributes.get("href") for link in page.all("a")]
    assert "Worth knowing" not in entry_page(records.submission(1))


def test_every_eligibility_and_trust_has_words():
    rows = [
        records.row(number, (0.5,) * 4, (None, None, None), eligibility=kind, trust=list(Trust)[number % 3])
        for number, kind in enumerate(Eligibility)
    ]
    text = check(rendering.standings(board(records.standings(rows)), records.PLACE)).one("table").text
    for word in ("Baseline", "Late", "Flagged", "Disqualified", "Superseded", "Self-reported", "Re-trained"):
        assert word in text


def test_the_hash_chain_is_checked_and_a_changed_event_is_told():
    events = records.scored_events()
    assert "Unbroken." in entry_page(records.submission(1), events)
    events[3] = events[3].model_copy(update={"actor": "somebody else"})
    html = entry_page(records.submission(1), events)
    assert "The hash chain of this log is broken." in html
    assert "Unbroken." not in html


def test_a_forgotten_value_is_an_error():
    with pytest.raises(UndefinedError):
        rendering.environment().get_template("error.html").render(place=records.PLACE)


def test_counts_sum_to_all_entries():
    groups = [
        (Processing.SCORED, Visibility.PUBLIC, 3),
        (Processing.SCORED, Visibility.WITHDRAWN, 1),
        (Processing.CANCELLED, Visibility.WITHDRAWN, 2),
        (Processing.QUEUED, Visibility.PUBLIC, 1),
        (Processing.RUNNING, Visibility.PUBLIC, 4),
        (Processing.INVALID, Visibility.PUBLIC, 2),
        (Processing.FAILED, Visibility.PUBLIC, 1),
    ]
    counts = Counts.of(groups)
    assert counts == Counts(scored=3, in_progress=5, invalid=2, failed=1, withdrawn=3)
    assert counts.total == sum(number for _, _, number in groups)


# What a Line allows: anything but characters that control; markup, templates and right-to-left marks among it.
TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
lines = st.one_of(
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "{{ 7 * 7 }}{% raw %}",
            "</title><h1>x</h1>",
            "`a` ` b",
            "javascript:alert(1)",
            "&lt;b&gt;",
            "\u200fevil",
        ]
    ),
    st.text(
        st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters=TURNING), min_size=1, max_size=120
    ),
)


@settings(max_examples=25, deadline=None)
@given(method=lines, author=lines, prose=st.text(st.characters(exclude_categories=("Cs",)), max_size=200))
def test_hostile_names_are_shown_and_never_obeyed(method, author, prose):
    hostile = {"method_name": method, "author": author, "description": prose}
    reason = RejectionReason.MANIFEST_MALFORMED
    rejection = Rejection(reason=reason, message=prose, hint=reason.hint)
    refused = records.submission(9, Processing.INVALID, rejection=rejection, **hostile)
    row = records.row(1, (0.9, 0.8, 0.7, 0.6), (1, 1, 1), method_name=method, author=author)
    events = records.events([(method, author, prose, {"message": prose, method: author, "stage": prose})])
    view = records.standings([row])
    pages = [
        rendering.home([CompetitionCard(records.DIGITS, view, COUNTS)], records.PLACE),
        rendering.standings(board(view, [refused]), records.PLACE),
        entry_page(refused, events, view),
        entry_page(records.submission(1, **hostile), events, view),
        rendering.error(404, "Nothing here", method, prose, Place("http://x", "/" + prose)),
    ]
    for html in pages:
        page = check(html)
        assert len(page.all("script")) == 1
        assert not page.all("img")
        assert len(page.all("h1")) == 1
    shown = check(pages[1]).one("table")
    assert method in shown.text


def test_a_competition_of_predictions_speaks_of_no_pool_and_no_training():
    guess = guessing()
    view = records.standings([]).model_copy(update={"competition": guess.id, "track": "predictions", "scale": "digits"})
    home = check(rendering.home([CompetitionCard(guess, view, Counts())], records.PLACE))
    assert "Ten digits" in home.one("main").text
    check(rendering.standings(Board(guess, guess.tracks[0], guess.scales[0], view, COUNTS, ()), records.PLACE))
    guide = check(rendering.take_part(guess, records.PLACE, HUB)).one("main").text
    assert "datacup submit --competition FILE --track predictions --scale digits" in guide
    assert "--predictions predictions.npz" in guide
    for foreign in ("--data-dir", "datacup pool", "Recipe digest", "quickstart", "--metadata-dir"):
        assert foreign not in guide
    submission = records.submission(1, competition="guess", track="predictions", scale="digits", subset_samples=None,
                                    subset_unique=None, suite="guess@1", results=[])  # fmt: skip
    page = check(rendering.entry(Entry(guess, submission, [], view), records.PLACE)).one("aside").text
    assert "the model that made them is not entered" in page
    assert "Recipe" not in page
    rows = [records.row(1, (0.9, 0.7, 0.6, 0.9), (1, 1, 1), subset_samples=None, subset_unique=None)]
    filled = records.standings(rows).model_copy(update={"track": "predictions", "scale": "digits"})
    table = check(
        rendering.standings(Board(guess, guess.tracks[0], guess.scales[0], filled, COUNTS, ()), records.PLACE)
    )
    assert "Subset" not in table.one("main").text
