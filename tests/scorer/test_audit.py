"""Audits that really train: who trained on the subset is confirmed, who trained on something better is flagged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from competition.canonical import digest
from competition.client import LeaderboardClient
from competition.data.uids import multiplicities, sort_uids
from competition.errors import DataFormatError, EngineError, PermissionDeniedError, StorageError, UsageError
from competition.records.audit import Arm, AuditReport, AuditTarget, AuditVerdict
from competition.records.lifecycle import Eligibility, Processing, Trust, chain_is_intact
from competition.records.submission import SubmissionRegistration, SubmissionRevision
from competition.rules import Competition, find_scale
from leaderboard.accounts.service import create_token
from leaderboard.accounts.viewer import Scope
from leaderboard.clock import utc_now
from leaderboard.database import Database
from leaderboard.settings import Settings
from scorer.audit_chores import random_subset
from scorer.cli import app
from scorer.work import Mode
from tests.scorer.audit_process import audit, settings_of
from tests.scorer.conftest import Board, RunningHub, Workplace
from tests.scorer.squares import (
    POOL_SIZE,
    Trained,
    half,
    mirror_entry,
    squares,
    train_on,
    write_entry,
    write_everything,
)
from tests.scorer.test_service import make_service

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
ROOT = Path(__file__).resolve().parents[2]
MODEST = half(blurred=True)
OPTIONS = ("--confidence", "0.95", "--resolution", "0.3", "--seeds", "2")


@pytest.fixture
def competition() -> Competition:
    """What the leaderboard of these tests runs."""
    return squares()


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    root = tmp_path / "scorer"
    root.mkdir()
    write_everything(root)
    return Workplace(root)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """A model of the modest half of the pool, and one of the better half."""
    root = tmp_path_factory.mktemp("trained")
    write_everything(root)
    return {
        "honest": train_on(root, MODEST, root / "honest"),
        "cheat": train_on(root, half(blurred=False), root / "cheat", seed=1),
    }


def enter(board: Board, hub: RunningHub, folder: Path, model: Trained) -> str:
    """Enter the modest half of the pool, with this model."""
    registration = SubmissionRegistration(
        idempotency_key=digest(str(folder)), competition="squares", track="filtering", scale="micro",
        method_name=folder.name, author="a tester", hub_endpoint=hub.url, repo="alice/entries",
    )  # fmt: skip
    ticket = board.participant.register(registration)
    write_entry(folder, MODEST, model, {"submission_id": ticket.submission_id, "nonce": ticket.nonce, "scale": "micro"})
    path = f"squares/{ticket.submission_id}"
    hub.api().create_repo("alice/entries", exist_ok=True)
    oid = hub.api().upload_folder(repo_id="alice/entries", folder_path=folder, path_in_repo=path).oid
    board.participant.set_revision(ticket.submission_id, SubmissionRevision(revision=oid, path=path))
    return ticket.submission_id


def organiser(board_folder: Path) -> str:
    database = Database(Settings(data_dir=board_folder).url)
    with database.writing() as session:
        until = utc_now() + timedelta(days=1)
        token = create_token(session, account="olga", scopes=[Scope.ADMIN], now=utc_now(), expires_at=until)
    database.close()
    return token


@pytest.mark.slow
def test_the_honest_entry_is_confirmed_and_the_one_of_another_training_is_flagged(
    board: Board, hub: RunningHub, workplace: Workplace, tmp_path: Path, trained: dict[str, Trained],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    honest, cheat = (enter(board, hub, tmp_path / name, trained[name]) for name in ("honest", "cheat"))
    make_service(board, workplace).run(Mode.DRAIN)
    token = organiser(tmp_path / "board")
    for name, value in {**workplace.environment, "DATACUP_ENDPOINT": board.url, "DATACUP_TOKEN": token}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATACUP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATACUP_THREADS", "1")
    monkeypatch.setattr("scorer.audit.secrets.randbelow", _counter(11))

    dry = audited(honest, "--dry-run")
    view = board.participant.submission(honest)
    assert (view.processing, view.trust) == (Processing.SCORED, Trust.RE_EVALUATED)
    assert dry.verdict is AuditVerdict.CONFIRMED
    is_of_its_own(dry, trained["honest"])
    words = CliRunner().invoke(app, ["audit", honest, "--dry-run", *OPTIONS])
    assert words.exit_code == 0, words.output
    assert "confirmed: The score is within seed noise of 2 trainings on the mirrored subset" in words.stdout
    assert "The entry's report names the very shards" in words.stdout
    assert "Not sent" in words.stderr

    sent = audited(honest)  # trains nothing again
    assert [run.model_sha256 for run in sent.runs] == [run.model_sha256 for run in dry.runs]
    flagged = audited(cheat)
    assert flagged.verdict is AuditVerdict.EXCEEDS
    assert not flagged.same_shards
    assert flagged.known.degrees == 1, "the audit of the other entry says how much seeds matter"
    found = {name: board.participant.submission(name) for name in (honest, cheat)}
    assert (found[honest].trust, found[honest].eligibility) == (Trust.RE_TRAINED, Eligibility.ELIGIBLE)
    assert (found[cheat].trust, found[cheat].eligibility) == (Trust.RE_EVALUATED, Eligibility.FLAGGED)
    events = board.participant.events(cheat)
    assert chain_is_intact(events)
    assert f"a gain of {flagged.score.gain:+.4f}" in events[-1].detail["reason"]
    rows = board.participant.standings("squares", track="filtering", scale="micro").rows
    assert [(row.submission_id, row.trust) for row in rows] == [(honest, Trust.RE_TRAINED)]
    with LeaderboardClient(board.url, board.scorer_token) as scorer, pytest.raises(PermissionDeniedError):
        scorer.audit_target(honest)


def audited(submission: str, *more: str) -> AuditReport:
    """What the command reports."""
    done = CliRunner().invoke(app, ["audit", submission, *OPTIONS, "--json", *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return AuditReport.model_validate_json(done.stdout)


def is_of_its_own(report: AuditReport, entry: Trained) -> None:
    """It trained on the very shards that the participant trained on, with other seeds, to other models."""
    assert report.same_shards
    assert {run.data_digest for run in report.runs} == {entry.report.data.digest}
    assert report.entry_seed == entry.report.seed == 0
    assert report.entry_seed not in {run.seed for run in report.runs}
    assert len({run.model_sha256 for run in report.runs} | {report.model_sha256}) == 3
    assert report.tasks.keys() == {"squares-a", "squares-b"}
    assert 0 < report.score.margin < 0.3


def _counter(first: int) -> Any:
    numbers = iter(range(first, first + 1000))
    return lambda _bound: next(numbers)


def target_of(root: Path, model: Trained, score: dict[str, float]) -> AuditTarget:
    """An entry that is in the mirror, as the leaderboard would describe it."""
    rules = squares()
    identity = {"submission_id": "sub-1", "scale": "micro"}
    manifest = write_entry(root / "entry", MODEST, model, identity)
    mirror_entry(root / "mirror", root / "entry", manifest)
    return AuditTarget(
        submission_id="sub-1", version=7, competition=rules.id, competition_digest=rules.digest, track="filtering",
        scale="micro", recipe_digest=rules.training_digest(find_scale(rules, "micro")), suite=rules.suite.reference,
        suite_digest=rules.suite.digest, hub_endpoint="https://hub.example", repo="a/b", revision="c" * 40, path="x",
        manifest=manifest, score=None, tasks=score, eligibility=Eligibility.ELIGIBLE, trust=Trust.RE_EVALUATED,
    )  # fmt: skip


def official(root: Path, model: Trained) -> dict[str, float]:
    from competition.evaluation.run import evaluate_suite

    rules = squares()
    report = evaluate_suite(model.folder / "model.safetensors", rules, rules.recipes[1], root / "evaluation")
    return {result.task: result.value for result in report.results}


@pytest.mark.slow
def test_a_killed_audit_goes_on_from_its_finished_seeds(
    workplace: Workplace, trained: dict[str, Trained], tmp_path: Path
) -> None:
    root = workplace.root
    target = target_of(root, trained["honest"], official(root, trained["honest"]))
    (tmp_path / "target.json").write_text(target.model_dump_json())
    command = [sys.executable, "-m", "tests.scorer.audit_process", str(root), str(tmp_path / "target.json"), "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "run":  # the first seed is finished, the second one begins
                break
        process.send_signal(signal.SIGKILL)
    results = settings_of(root).audits_root.glob("*/*/results/*.json")
    before = {path: path.stat().st_mtime_ns for path in results}
    assert [path.name for path in before] == ["subset-12.json"]

    events: list[tuple[str, dict[str, Any]]] = []
    report = audit(root, target, 2, lambda event, **detail: events.append((event, detail))).run()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {detail["seed"] for event, detail in events if event == "progress"} == {13}
    assert [run.seed for run in report.runs] == [12, 13]
    assert report.verdict is AuditVerdict.CONFIRMED
    # Fewer seeds than there are take all of them; what takes room may be gone, and nothing is trained for that.
    folder = next(settings_of(root).audits_root.glob("*/*"))
    for name in ("data-subset", "runs", "models"):
        shutil.rmtree(folder / name)
    assert audit(root, target, 1, lambda *_words, **_detail: None).run() == report
    assert not (folder / "data-subset").exists()

    wrong = target.model_copy(update={"tasks": {task: value + 0.2 for task, value in target.tasks.items()}})
    with pytest.raises(EngineError, match="is published"):
        audit(root, wrong, 2, lambda *_words, **_detail: None).run()


@pytest.mark.slow
def test_at_a_smaller_scale_the_subset_is_compared_with_random_ones(
    workplace: Workplace, trained: dict[str, Trained]
) -> None:
    root = workplace.root
    target = target_of(root, trained["cheat"], dict.fromkeys(("squares-a", "squares-b"), 0.9))
    report = audit(root, target, 2, lambda *_words, **_detail: None, scale="nano").run()
    assert report.verdict in {AuditVerdict.NOT_ABOVE_RANDOM, AuditVerdict.UNDECIDED}
    assert [(run.arm, run.seed) for run in report.runs[:2]] == [(Arm.SUBSET, 12), (Arm.RANDOM, 12)]
    rules = squares()
    assert report.recipe_digest == rules.training_digest(find_scale(rules, "nano"))
    assert {run.samples for run in report.runs} == {len(MODEST)}
    assert len({run.data_digest for run in report.runs}) == 2
    smaller = target.model_copy(update={"scale": "nano", "recipe_digest": report.recipe_digest})
    with pytest.raises(UsageError, match="no smaller"):
        audit(root, smaller, 2, lambda *_words, **_detail: None, scale="micro")

    # What cannot be audited says why, before anything is trained.
    shard = next((root / "pools" / "squares" / "shards").glob("*1.tar"))
    shard.unlink()
    with pytest.raises(DataFormatError, match="are not among the shards"):
        audit(root, target.model_copy(update={"submission_id": "sub-2"}), 2, lambda *_words, **_detail: None).run()
    (root / "mirror").rename(root / "elsewhere")
    with pytest.raises(StorageError, match=r"lacks subset\.npy"):
        audit(root, target, 2, lambda *_words, **_detail: None).run()


def test_a_random_subset_is_like_the_other_one_in_size_and_repeats() -> None:
    pool = sort_uids(np.concatenate([half(blurred=True), half(blurred=False)]))
    subset = sort_uids(np.concatenate([pool[:20], pool[:5], pool[:2]]))
    drawn = random_subset(pool, subset, seed=3)
    assert sorted(multiplicities(drawn)[1]) == sorted(multiplicities(subset)[1])
    assert set(drawn.tolist()) <= set(pool.tolist())
    assert (
        drawn.tolist() == random_subset(pool, subset, seed=3).tolist() != random_subset(pool, subset, seed=4).tolist()
    )
    assert len(pool) == POOL_SIZE
