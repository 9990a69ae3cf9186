"""The site as HTTP gives it: real database, real server, entries made through the API."""

from __future__ import annotations

import shlex

import httpx
import pytest
from typer.main import get_command

from competition.client import LeaderboardClient
from competition.records.lifecycle import Processing
from leaderboard.web import assets
from leaderboard.web.responses import CONTENT_SECURITY_POLICY
from tests.leaderboard.web import records
from tests.leaderboard.web.conftest import HOSTILE
from tests.leaderboard.web.markup import check


@pytest.fixture(scope="module")
def http(site):
    with httpx.Client(base_url=site.url) as client:
        yield client


def text_of(response: httpx.Response) -> str:
    return " ".join(check(response.text).one("main").text.split())


def test_every_page_is_valid_and_carries_the_strict_headers(site, http):
    paths = ["/", "/competitions/digits", "/competitions/digits?scale=micro", "/competitions/digits/take-part", "/nope"]
    for path in paths + [f"/submissions/{entry}" for entry in site.entries.values()]:
        response = http.get(path)
        check(response.text)
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert "unsafe" not in CONTENT_SECURITY_POLICY
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-cache"


def test_the_page_shows_the_rows_of_the_api(site, http):
    with LeaderboardClient(site.url) as client:
        view = client.standings("digits", track="filtering", scale="nano")
    rows = [row for row in check(http.get("/competitions/digits").text).all("tr") if "id" in row.attributes]
    assert [row.attributes["id"] for row in rows] == [f"entry-{row.submission_id}" for row in view.rows]
    for shown, row in zip(rows, view.rows, strict=True):
        assert row.score is not None
        assert f"{row.score.value:.3f}" in shown.text
        assert row.method_name in shown.text


def test_two_entries_that_the_data_cannot_order_are_in_one_group(http):
    text = text_of(http.get("/competitions/digits"))
    assert "Ranks 1–2 are not separable" in text


def test_refused_and_running_entries_are_shown_with_their_reasons_and_counted(http):
    text = text_of(http.get("/competitions/digits"))
    for expected in (
        "model.safetensors is not the file of the manifest of Forged.",
        "Run datacup submit again",
        "1 of 4 tasks are evaluated; now: digits-test",
    ):
        assert expected in text
    figures = {
        pair.children[0].text: pair.children[1].text
        for figure in check(http.get("/competitions/digits").text).all("dl")
        if "figures" in (figure.attributes.get("class") or "")
        for pair in figure.children
    }
    assert figures == {"verified": "3", "in progress": "1", "refused": "2", "withdrawn": "1"}


def test_a_name_that_is_markup_is_shown_as_text(site, http):
    for path in ("/competitions/digits", f"/submissions/{site.entries[HOSTILE]}"):
        response = http.get(path)
        assert HOSTILE not in response.text
        assert HOSTILE in text_of(response)


def test_an_entry_page_tells_its_whole_story(site, http):
    text = text_of(http.get(f"/submissions/{site.entries['Careful choice']}"))
    for expected in ("Unbroken.", "Scored: every task has a verified result", "mina/entry@abababab", "1–2", "chance"):
        assert expected.lower() in text.lower()


def test_a_withdrawn_entry_stays_as_a_tombstone(site, http):
    entry = site.entries["Taken back"]
    assert "Withdrawn by its author" in text_of(http.get(f"/submissions/{entry}"))
    assert entry not in http.get("/competitions/digits").text


def test_a_draft_is_not_shown_to_anybody(site, http):
    with LeaderboardClient(site.url) as client:
        shown = {view.id for view in client.submissions().items if view.processing is not Processing.DRAFT}
    assert set(site.entries.values()) == shown


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/nope", "There is no page at this address."),
        ("/competitions/none", "There is no competition 'none'."),
        ("/competitions/none/take-part", "Start from the list of competitions."),
        ("/competitions/digits?scale=giant", "Its scales are: nano, micro."),
        ("/competitions/digits?track=none", "Its tracks are: filtering."),
        ("/submissions/sub-none", "There is no submission 'sub-none'."),
        ("/submissions/%3Cscript%3E", "There is no submission '<script>'."),
    ],
)
def test_a_missing_page_says_what_to_do(http, path, sentence):
    response = http.get(path)
    assert response.status_code == 404
    assert sentence in text_of(response)


def test_the_api_answers_errors_in_json(http):
    response = http.get("/api/v1/submissions/sub-none")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


def test_an_unchanged_page_is_not_sent_again(http):
    first = http.get("/competitions/digits")
    again = http.get("/competitions/digits", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = http.get("/competitions/digits?scale=micro", headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


def test_head_is_answered_without_a_body(http):
    response = http.head("/competitions/digits")
    assert (response.status_code, response.content) == (200, b"")


def test_static_files_are_kept_as_long_as_their_address_says(http):
    versioned = http.get(assets.url("site.css"))
    assert versioned.status_code == 200
    assert "immutable" in versioned.headers["cache-control"]
    plain = http.get("/static/site.css")
    assert plain.headers["cache-control"] == "no-cache"
    again = http.get("/static/site.css", headers={"If-None-Match": plain.headers["etag"]})
    assert again.status_code == 304
    assert http.get("/static/nothing.css").status_code == 404
    assert http.get("/static/../app.py").status_code == 404


def test_no_page_refers_to_another_host(site, http):
    for path in ("/", "/competitions/digits", "/competitions/digits/take-part"):
        page = check(http.get(path).text)
        loaded = [element for tag in ("link", "script", "img") for element in page.all(tag)]
        for element in loaded:
            address = element.attributes.get("href") or element.attributes.get("src") or ""
            assert address.startswith("/static/")
            assert http.get(address).status_code == 200
        card = next(meta for meta in page.all("meta") if meta.attributes.get("property") == "og:image")
        assert (card.attributes["content"] or "").startswith(site.url)


def commands_of(http: httpx.Client) -> list[str]:
    """Every command line that the take-part page shows, continued lines joined."""
    page = check(http.get("/competitions/digits/take-part").text)
    return [line for block in page.all("pre") for line in block.text.replace("\\\n", " ").splitlines()]


def test_the_take_part_page_names_this_site_and_its_hub_in_its_commands(site, http):
    lines = commands_of(http)
    assert f"export DATACUP_ENDPOINT={site.url}" in lines
    assert "export HF_ENDPOINT=http://127.0.0.1:1" in lines
    assert "pip install '.[kit]'" in lines, "from a clone: the package is on no index"


def test_every_command_of_the_take_part_page_is_understood_by_the_participants_tool(http):
    from participant_kit.cli import app

    shown = [shlex.split(line) for line in commands_of(http) if line.startswith("datacup ")]
    understood = set()
    for words in shown:
        name, command = words.pop(0), get_command(app)
        while hasattr(command, "commands"):
            name = words.pop(0)
            command = command.commands[name]
        command.make_context(name, words)
        understood.add(name)
    assert understood == {"quickstart", "build", "clip_score", "reshard", "train", "evaluate", "submit", "status"}


def test_the_log_says_which_task_was_being_evaluated(site, http):
    text = text_of(http.get(f"/submissions/{site.entries['Careful choice']}"))
    for task in records.DIGITS.suite.tasks:
        assert f"Evaluating: {task.title}" in text
