"""``datacup status``, ``logs`` and ``withdraw`` against a served leaderboard, as a participant types them."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
from sqlalchemy import update

from competition.client import LeaderboardClient
from competition.errors import LogBrokenError, RejectionReason, ServiceUnavailableError
from competition.records.lifecycle import Event, Processing, chain_is_intact
from leaderboard.app import create_app
from leaderboard.models import EventRow
from participant_kit.cli import status
from participant_kit.cli.console import Console
from tests.conftest import ROOT
from tests.leaderboard.site import LEASE, Site, manifest, result
from tests.leaderboard.test_visibility import _with_hidden_task
from tests.participant_kit.cli.typed import refused, typed
from tests.serving import serve

PROGRAM = [sys.executable, "-c", "from participant_kit.cli import main; main()"]


@pytest.fixture
def served(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A served site, and alice at the keyboard."""
    yield from _serve(site, monkeypatch)


@pytest.fixture
def sqlite_served(sqlite_site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The same on SQLite only, for what has nothing to do with the database."""
    yield from _serve(sqlite_site, monkeypatch)


def _serve(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with serve(site.http.app) as url:
        monkeypatch.setenv("DATACUP_ENDPOINT", url)
        monkeypatch.setenv("DATACUP_TOKEN", site.tokens["alice"])
        yield site


def invalid(site: Site) -> str:
    submission = site.enter()
    report = {"outcome": "invalid", "reason": "digest_mismatch", "message": "model.safetensors\ndiffers"}
    site.must(site.claim(), "finish", **report)
    return submission


def failed(site: Site) -> str:
    submission = site.enter()
    for _ in range(3):
        site.must(site.claim(), "finish", outcome="failed", message="the disk is full")
        site.clock.advance(100)
    return submission


def troubled(site: Site) -> str:
    """Scored in the end, after a fault of the platform, a lost worker, a near copy and a boast."""
    first = site.scored(0.5)
    submission = site.enter()
    site.must(site.claim(), "finish", outcome="failed", message="the Hub answers 500")
    site.clock.advance(10)
    grant = site.claim()
    copies = [{"submission": first, "distance": 0.002}]
    site.must(grant, "finish", outcome="verified", manifest=manifest(grant), near_copies=copies)
    site.claim()
    site.clock.advance(LEASE)
    site.claim(kinds=["intake"])
    site.clock.advance(10)
    grant = site.claim()
    task = site.tasks(grant)[0]
    site.must(grant, "results", result=result(task.id, task.metric, 0.75), reported_gap=0.125)
    site.score(grant | {"finished_tasks": [task.id]}, 0.75)
    return submission


def test_the_log_tells_the_whole_life_in_lines_and_verifies_its_chain(served: Site) -> None:
    submission = troubled(served)
    shown = typed("logs", submission)
    assert (shown.code, len(shown.out.splitlines())) == (0, len(served.events(submission)))
    assert all(re.match(r"2026-06-01 12:\d\d:\d\d UTC  \S", line) for line in shown.out.splitlines())
    title = served.competition.suite.tasks[0].title
    for words in (
        "12:00:00 UTC  Registered",
        "the Hub answers 500 · failures 1 · next try in 10 s",
        "A worker begins to fetch and check the files (attempt 2)",
        "nearly those of another entry",
        "The worker fell silent",
        f"Result accepted: {title}, 0.750 [0.6",
        "(attempt 2 · the entry's own report says 0.125 more)",
        "Scored: every task has a verified result",
    ):
        assert words in shown.out, words
    events = served.events(submission)
    assert f"{len(events)} events, an unbroken chain. Head {events[-1].hash}" in shown.err
    lines = typed("logs", submission, "--json").out.splitlines()
    assert [Event.model_validate_json(line) for line in lines] == events
    assert "Test digits: its authors report 0.875, verified was 0.750" in typed("status", submission).out
    with served.database.writing() as session:
        forged = update(EventRow).where(EventRow.submission_id == submission, EventRow.sequence == 3)
        session.execute(forged.values(actor="nobody"))
    for words in ((), ("--json",)):
        broken = typed("logs", submission, *words)
        assert broken.code == 11
        assert f"The hash chain of the log of {submission} is broken" in broken.err
        assert "unbroken" not in broken.err
    assert json.loads(broken.out.splitlines()[-1])["error"]["code"] == "log_broken"


def test_logs_say_what_to_do_and_withhold_what_is_not_to_be_seen(
    sqlite_served: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = sqlite_served
    refusal = typed("logs", invalid(site)).out
    assert "Refused (Digest mismatch · model.safetensors differs)" in refusal
    assert f"\n{' ' * 25}What to do: {RejectionReason.DIGEST_MISMATCH.hint}\n" in refusal
    rules = _with_hidden_task(site.competition, revealed=False)
    site.publish(rules)
    submission = site.enter(competition="secret")
    site.verify(site.claim())
    grant = site.claim()
    for task in site.tasks(grant):
        hidden = task.id == rules.suite.tasks[-1].id
        body = result(task.id, task.metric, 0.815 if hidden else 0.5)
        site.must(grant, "results", result=body, reported_gap=0.4375 if hidden else None)
    site.must(grant, "finish", outcome="scored")
    shown = typed("logs", submission)
    assert (shown.code, "0.815" in shown.out, "0.438" in shown.out) == (0, False, False)
    assert f"Result accepted: {rules.suite.tasks[-1].id} (not shown to you in full)" in shown.out
    assert "1 of them not shown in full" in shown.err
    assert typed("withdraw", submission, "--yes").code == 0
    monkeypatch.setenv("DATACUP_TOKEN", site.tokens["bob"])
    tomb = typed("logs", submission, "--follow")
    assert tomb.code == 0, "nothing more will happen to it"
    assert {line.split("  ")[1] for line in tomb.out.splitlines()} == {
        "Withheld",
        "Withdrawn",
    }
    assert "withdrawn by its author on 1 Jun 2026" in typed("status", submission).out
    assert refused("logs", "sub-000000000000").code == 2


def test_ones_own_entries_are_listed_newest_first(served: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {}
    for name, make in (("scored", served.scored), ("invalid", invalid), ("draft", served.register)):
        names[name] = make(served) if make is invalid else make()
        served.clock.advance(1)
    taken_back = served.enter()
    typed("withdraw", taken_back, "--yes")
    served.enter("bob")
    shown = typed("status")
    listed = re.findall(r"sub-[0-9a-f]{12}", shown.out)
    assert listed == [taken_back, names["draft"], names["invalid"], names["scored"]]
    assert "withdrawn by its author on 1 Jun 2026" in shown.out
    assert f"Next: datacup status {taken_back}" in shown.err
    assert [item["id"] for item in json.loads(typed("status", "--json").out)["items"]] == listed
    assert refused("status", "--wait").code == 2
    monkeypatch.delenv("DATACUP_TOKEN")
    assert "DATACUP_TOKEN" in refused("status").err
    monkeypatch.setenv("DATACUP_TOKEN", served.tokens["organiser"])
    assert "You have entered nothing yet." in typed("status").err


@pytest.mark.parametrize(
    ("make", "code"), [(Site.scored, 0), (invalid, 10), (failed, 8), (Site.enter, 1)], ids=["0", "10", "8", "1"]
)
def test_the_exit_code_of_waiting_says_how_it_ended(
    sqlite_served: Site, make: Callable[[Site], str], code: int
) -> None:
    submission = make(sqlite_served)
    if code == 1:
        typed("withdraw", submission, "--yes")
    assert typed("status", submission).code == 0, "looking is no failure"
    assert typed("status", submission, "--wait").code == code
    assert json.loads(typed("status", submission, "--wait", "--json").out)["id"] == submission


def test_the_commands_and_exit_codes_of_the_page_are_true(sqlite_served: Site) -> None:
    text = (ROOT / "docs" / "submitting.md").read_text(encoding="utf-8")
    written = re.findall(r"^\$ datacup ((?:status|logs|withdraw).*?)(?: +#.*)?$", text, flags=re.MULTILINE)
    assert len(written) == 7
    submission = troubled(sqlite_served)
    for command in written:
        shown = typed(*(submission if word == "sub-0123456789ab" else word for word in shlex.split(command)))
        assert shown.code == 0, (command, shown.err)
        assert shown.out
    assert sqlite_served.view(submission)["visibility"] == "withdrawn"
    codes = dict(re.findall(r"^\| (\d+) \| `?([a-z ]+)`? \|", text, flags=re.MULTILINE))
    ended = {str(code): state.value for state, code in status.EXIT_CODES.items()}
    assert codes == ended | {"1": "cancelled", str(status.INTERRUPTED): "on its way"}
    assert f"exit code {LogBrokenError.exit_code}." in text


def test_withdrawing_asks_at_a_terminal_and_only_there(served: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = served.scored()
    piped = refused("withdraw", submission)
    assert piped.code == 2
    assert f"datacup withdraw {submission} --yes" in piped.err
    assert refused("withdraw", submission, "--yes", "--reason", "x" * 1001).code == 2
    code, said = _at_a_terminal("n\n", "withdraw", submission)
    assert (code, "Nothing was changed." in said) == (1, True)
    assert served.view(submission)["visibility"] == "public"
    monkeypatch.setenv("DATACUP_TOKEN", served.tokens["bob"])
    assert refused("withdraw", submission, "--yes").code == 9
    monkeypatch.setenv("DATACUP_TOKEN", served.tokens["alice"])
    code, said = _at_a_terminal("y\n", "withdraw", submission, "--reason", "A mistake.")
    assert code == 0
    assert f"{submission}: method 1 (Ada), scored" in said
    assert "scored, withdrawn by its author on 1 Jun 2026" in said
    assert served.view(submission, "alice")["withdrawal"]["reason"] == "A mistake."
    again = typed("withdraw", submission)
    assert (again.code, "was withdrawn before; nothing is changed" in again.err) == (0, True)
    assert served.standings()["rows"] == []


def _at_a_terminal(answer: str, *words: str) -> tuple[int, str]:
    """The command in a process of its own with a terminal at its stdin; its exit code and all that it said."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [*PROGRAM, *words], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        os.write(ours, answer.encode())
        said, _ = process.communicate(timeout=120)
    finally:
        os.close(theirs)
        os.close(ours)
    return process.returncode, said


def _started(*words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen([*PROGRAM, *words], env=environment, stdout=pipe, stderr=pipe, text=True)


def test_waiting_that_is_interrupted_says_how_to_go_on_and_the_log_can_be_followed(sqlite_served: Site) -> None:
    site = sqlite_served
    submission = site.enter()
    waiting, following = _started("status", submission, "--wait"), _started("logs", submission, "--follow")
    assert waiting.stderr is not None
    assert following.stdout is not None
    assert waiting.stderr.readline() == f"{submission}: received\n"
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (130, "")
    assert f"datacup status {submission} --wait" in err
    assert "Traceback" not in err
    assert "Registered" in following.stdout.readline()
    assert "Received" in following.stdout.readline()
    site.verify(site.claim())
    while "waiting for a scorer" not in following.stdout.readline():
        assert following.poll() is None
    site.score(site.claim())
    rest, err = following.communicate(timeout=60)
    assert following.returncode == 0
    assert "Scored: every task has a verified result" in rest.splitlines()[-1]
    assert "an unbroken chain" in err


class Listening(Console):
    """A console at whose every note something is done."""

    def __init__(self, *deeds: Callable[[], object]) -> None:
        super().__init__(as_json=False)
        self.heard: list[str] = []
        self._deeds = list(deeds)

    def note(self, text: str) -> None:
        """Hear it, and do what is next."""
        self.heard.append(text)
        if self._deeds:
            self._deeds.pop(0)()


def test_a_leaderboard_that_is_started_anew_meanwhile_is_waited_for(site: Site) -> None:
    submission = site.enter()
    settings: Any = site.http.app.state.settings  # type: ignore[attr-defined]
    with ExitStack() as first, ExitStack() as second:
        url = first.enter_context(serve(create_app(settings, clock=site.clock)))
        client = second.enter_context(LeaderboardClient(url, attempts=1))

        def start_again() -> None:
            second.enter_context(serve(create_app(settings, clock=site.clock), urlsplit(url).port or 0))
            site.verify(site.claim())
            site.score(site.claim())

        console = Listening(first.close, start_again)
        view = status.follow(client, submission, console, pause=0.01)
        assert view.processing is Processing.SCORED
        assert console.heard[0] == f"{submission}: received"
        assert console.heard[1].endswith("Still waiting.")
        assert console.heard[-1] == f"{submission}: scored"
        assert chain_is_intact(client.events(submission))
    with LeaderboardClient(url, attempts=1) as away, pytest.raises(ServiceUnavailableError):
        status.follow(away, submission, Listening(), pause=0.01)
    with pytest.raises(typer.Exit) as ended:
        status.leave(view.model_copy(update={"processing": Processing.INVALID}))
    assert ended.value.exit_code == 10
