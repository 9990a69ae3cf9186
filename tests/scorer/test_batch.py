"""`datacup-scorer batch`: what it prints and with which status it ends, over a real leaderboard, Hub and entries."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from competition.errors import DataCupError, UsageError
from competition.records.evaluation import Interval
from competition.records.rescoring import (
    ChangedEntry,
    ChangedTask,
    ChangedTasks,
    EntryState,
    Omission,
    RescoringPlan,
    RescoringProgress,
    RescoringReport,
    RescoringState,
    RescoringView,
)
from competition.records.submission import Score
from competition.rules import find_competition
from competition.rules.suite_changes import suite_changes
from leaderboard.accounts.service import create_token
from leaderboard.accounts.viewer import Scope
from leaderboard.clock import utc_now
from leaderboard.database import Database
from scorer import batch_text
from scorer.batch import Replay, ReplayedTask, Tally
from scorer.cli import app
from tests.scorer.conftest import Board, Enter, Workplace
from tests.scorer.newer import CHANGED, KEPT, NEW, write_newer

Run = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def run(board: Board, workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command with an organiser's token, in this process."""
    database = Database(f"sqlite:///{tmp_path / 'board' / 'leaderboard.db'}")
    now = utc_now()
    with database.writing() as session:
        token = create_token(session, account="org", scopes=[Scope.ADMIN], now=now, expires_at=now + timedelta(days=9))
    database.close()
    chosen = {"DATACUP_ENDPOINT": board.url, "DATACUP_TOKEN": token, "DATACUP_POLL_SECONDS": "0.1"}
    for name, value in {**workplace.environment, **chosen, "DATACUP_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["batch", *arguments])

    return run


def test_from_an_empty_queue_to_a_published_suite(
    run: Run, workplace: Workplace, enter: Enter, board: Board, tmp_path: Path
) -> None:
    entry = enter(1)
    waiting = run("--pending", "--dry-run")
    assert waiting.exit_code == 0
    assert waiting.stdout == f"1 entry waiting or being worked on\n  {entry}  weights 1: received\n"
    narrowed = run("--pending", "--competition", str(workplace.root / "tiny.yaml"), "--phase", "public", "--dry-run")
    assert narrowed.stdout == waiting.stdout
    elsewhere = run("--pending", "--scale", "micro")
    assert (elsewhere.exit_code, elsewhere.stdout) == (0, "Nothing was waiting.\n")
    done = run("--pending")
    assert done.exit_code == 0, done.output
    assert [line.split()[1:4] for line in done.stdout.splitlines()[1:]] == [
        ["intake", "verified", "0"],
        ["scoring", "scored", "3"],
    ]

    file = tmp_path / "tiny-2.yaml"
    write_newer(file)
    command = ("--suite", "tiny@2", "--competition", str(file))
    planned = run(*command, "--dry-run")
    assert "1 entry to re-score: 1 result taken over without evaluating, 2 evaluations to do" in planned.stdout
    assert isinstance(run(*command).exception, UsageError), "nobody is there to be asked"
    # Another machine's mirror: the entry is fetched again, under the rules that it was registered under.
    shutil.rmtree(workplace.environment["DATACUP_MIRROR"])
    tar = workplace.root / "evaluation" / CHANGED / "test" / "0.tar"
    sound = tar.read_bytes()
    tar.write_bytes(b"damaged" * 1000)
    failed = run(*command, "--yes")
    assert failed.exit_code == 1
    assert "1 failed" in failed.stderr
    assert CHANGED in failed.stdout
    assert "the same command goes on" in failed.stderr
    tar.write_bytes(sound)
    published = run(*command, "--yes", "--publish")
    assert published.exit_code == 0, published.output
    assert f"tasks as before: {KEPT}" in published.stdout
    assert f"    {NEW}: " in published.stdout
    assert "tiny: tiny@1 -> tiny@2 (re-scoring 1, published " in published.stdout
    assert f"Published: {board.url}/competitions/tiny/rescorings/1" in published.stderr
    again = run(*command, "--yes", "--publish")
    assert (again.exit_code, "There is nothing to re-score." in again.stderr) == (0, True)
    replayed = run("--replay", entry, "--competition", str(file))
    assert replayed.exit_code == 0, replayed.output
    assert replayed.stdout.endswith("3 of 3 stored values hold.\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Give one of"),
        (("--pending", "--suite", "tiny@2"), "Give one of"),
        (("--pending", "--publish"), "--publish does not go with this"),
        (("--replay", "sub-1", "--scale", "nano"), "--scale does not go with this"),
        (("--suite", "tiny@2", "--allow-missing"), "goes with --publish"),
        (("--suite", "nothing@9"), "scored by suite 'nothing@9'"),
        (("--pending", "--phase", "public"), "--phase needs --competition"),
        (("--replay", "sub-1"), "There is no submission 'sub-1'"),
    ],
)
def test_what_does_not_fit_together_is_refused(run: Run, arguments: tuple[str, ...], words: str) -> None:
    error = run(*arguments).exception
    assert isinstance(error, DataCupError)
    assert words in str(error)


def score(value: float) -> Score:
    return Score(value=value, interval=Interval(low=value - 0.02, high=value + 0.02, method="bootstrap"))


def changed(number: int, before: float, after: float | None, ranks: tuple[int, int | None], **fields: object) -> object:
    tasks = (
        ChangedTask(task="kept", title="Kept", before=score(before), after=score(before), taken_over=True),
        ChangedTask(task="gone", title="Gone", before=score(before), after=None, taken_over=False),
        ChangedTask(task="new", title="New", before=None, after=after and score(after), taken_over=False),
    )
    values = {
        "submission_id": f"sub-{number}",
        "method_name": f"method {number}",
        "author": "Ada",
        "track": "filtering",
        "scale": "nano",
        "state": EntryState.DONE,
        "failure": None,
        "before": score(before),
        "after": None if after is None else score(after),
        "rank_before": ranks[0],
        "rank_after": ranks[1],
        "tasks": tasks,
    }
    return ChangedEntry.model_validate({**values, **fields})


def test_the_report_reads_as_text() -> None:
    at = utc_now().replace(2026, 1, 2, 3, 4, 5)
    tasks = ChangedTasks(kept=("kept",), changed=(), added=("new",), removed=("gone",))
    view = RescoringView(
        id=7,
        competition="tiny",
        version_before=1,
        version_after=2,
        suite_before="tiny@1",
        suite_after="tiny@2",
        suite_digest="0" * 64,
        state=RescoringState.PUBLISHED,
        track=None,
        scale=None,
        phase=None,
        fresh=False,
        tasks=tasks,
        progress=RescoringProgress(total=3, done=2, failed=1),
        created_at=at,
        ended_at=at,
    )
    hostile = "\x1b[31mred\u202e"
    entries = (
        changed(2, 0.6, 0.7, (2, 1)),
        changed(1, 0.8, 0.5, (1, 2), method_name=hostile),
        changed(3, 0.4, None, (3, None), state=EntryState.FAILED, failure="no disk"),
    )
    report = RescoringReport(
        rescoring=view,
        aggregate_before="Average",
        aggregate_after="New average",
        entries=entries,
        missing=(Omission(submission_id="sub-3", method_name="method 3", reason="no score under tiny@2"),),
        in_progress=1,
    )
    assert "\n".join(batch_text.report(report)) == (
        "tiny: tiny@1 -> tiny@2 (re-scoring 7, published 2026-01-02 03:04:05 UTC)\n"
        "  tasks as before: kept\n"
        "  tasks new: new\n"
        "  tasks removed: gone\n"
        "\n"
        "filtering / nano: Average -> New average\n"
        "rank    entry            tiny@1                  tiny@2                  change  id\n"
        "2 -> 1  method 2 (Ada)   0.600 (0.580 to 0.620)  0.700 (0.680 to 0.720)  +0.100  sub-2\n"
        "    gone: 0.600 (removed)\n"
        "    new: 0.700 (new)\n"
        "1 -> 2  \N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER} (Ada)"
        "  0.800 (0.780 to 0.820)  0.500 (0.480 to 0.520)  -0.300  sub-1\n"
        "    gone: 0.800 (removed)\n"
        "    new: 0.500 (new)\n"
        "3 -> -  method 3 (Ada)   0.400 (0.380 to 0.420)  failed                          sub-3\n"
        "    no disk\n"
        "\n"
        "2 entries moved, 1 did not.\n"
        "1 entry of the table without a new score:\n"
        "  sub-3  method 3: no score under tiny@2\n"
        "1 entry on the way to a score: those registered under the older suite need another run of this command."
    )
    assert batch_text.progress(view) == "Re-scoring 7 (tiny@2): 2 of 3 done, 1 failed"


def test_a_plan_and_a_replay_read_as_text() -> None:
    plan = RescoringPlan(
        competition="tiny",
        version_before=1,
        version_after=2,
        suite_before="tiny@1",
        suite_after="tiny@2",
        suite_digest="0" * 64,
        tasks=ChangedTasks(kept=("a", "b"), changed=("c",), added=(), removed=()),
        entries=1,
        evaluations=1,
        taken_over=2,
        seconds=300.0,
        seconds_by_analogy=0.0,
        not_estimated=0,
        left_out=(Omission(submission_id="sub-9", method_name="m", reason="because"),),
    )
    assert list(batch_text.plan(plan)) == [
        "tiny: suite tiny@1 (version 1) -> tiny@2 (version 2)",
        "  tasks as before: a, b",
        "  tasks changed: c",
        "1 entry to re-score: 2 results taken over without evaluating, 1 evaluation to do",
        "About 5 min on one machine, from the recorded times",
        "1 entry left out:",
        "  sub-9  m: because",
    ]
    tasks = (
        ReplayedTask("a", "A", "acc1", 0.5, 0.504, 0.005),
        ReplayedTask("b", "B", "acc1", 0.5, 0.506, 0.005),
        ReplayedTask("c", "C", "acc1", None, 0.5, 0.005),
    )
    replay = Replay("sub-1", "tiny@1", "0" * 64, tasks)
    assert [task.task for task in replay.differing] == ["b", "c"], "what was never stored does not hold"
    lines = list(batch_text.replay(replay))
    assert lines[2].split() == ["a", "acc1", "0.5", "0.504", "+0.004", "0.005", "holds"]
    assert lines[3].split() == ["b", "acc1", "0.5", "0.506", "+0.006", "0.005", "DIFFERS"]
    assert lines[-1] == "1 of 3 stored values hold."


def test_a_tally_keeps_the_last_word_on_every_job() -> None:
    tally = Tally()
    known = {"submission": "sub-1", "kind": "scoring"}
    for event in ("claimed", "task", "failed", "claimed", "task", "scored"):
        tally({**known, "event": event, "message": "no disk" if event == "failed" else ""})
    (line,) = tally.lines.values()
    assert (line.outcome, line.tasks, line.message) == ("scored", 2, "")


def test_the_example_is_the_digits_competition_with_one_task_more() -> None:
    before, after = find_competition("digits"), find_competition(str(ROOT / "docs" / "examples" / "digits-2.yaml"))
    changes = suite_changes(before.suite, after.suite)
    assert changes.kept == tuple(task.id for task in before.suite.tasks)
    assert (changes.added, changes.changed, changes.removed) == (("digits-neighbours",), (), ())
    same = {"version", "suite"}
    assert before.model_dump(exclude=same) == after.model_dump(exclude=same)
    assert (after.version, after.suite.reference) == (2, "digits@2")
