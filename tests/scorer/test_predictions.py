"""An entry of predictions on its whole way: the kit, a real Hub, a real leaderboard and the scorer's processes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from competition.errors import RejectionReason
from competition.records.lifecycle import Processing, Trust
from competition.records.submission import SubmissionTicket
from competition.rules import Competition
from participant_kit import entering
from participant_kit.hub import HubTarget
from participant_kit.predictions import PredictionsEntry, assemble, submit
from scorer.cli import verify
from scorer.work import Mode
from tests.competition.evaluation.predicted import (
    COMPETITION_YAML,
    SETS,
    all_guesses,
    counted,
    digit_labels,
    guessing,
    write_labels,
)
from tests.scorer.conftest import Board, RunningHub, Workplace
from tests.scorer.test_service import make_service

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

Sets = dict[str, np.ndarray]


@pytest.fixture
def competition() -> Competition:
    """What the leaderboard of these tests runs."""
    return guessing()


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    """A scorer with labels, without a pool, an image or a model."""
    root = tmp_path / "scorer"
    write_labels(root / "evaluation")
    (root / "pools").mkdir()
    (root / "tiny.yaml").write_text(COMPETITION_YAML)
    return Workplace(root)


@pytest.fixture
def target(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> HubTarget:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    return HubTarget(hub.url, "alice/entries")


def entry_of(folder: Path, competition: Competition, sets: Sets) -> PredictionsEntry:
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / "mine.npz", **sets)
    return PredictionsEntry(
        competition=competition,
        track=competition.tracks[0],
        scale=competition.scales[0],
        file=folder / "mine.npz",
        method_name="guesses",
        author="Alice",
        description="Right more often than not.",
    )


def test_predictions_go_from_submitted_to_scored_and_ranked(
    board: Board, workplace: Workplace, target: HubTarget, competition: Competition, tmp_path: Path
) -> None:
    sets = all_guesses()
    notes: list[str] = []
    entry = entry_of(tmp_path / "mine", competition, sets)
    view = submit(entry, board.participant, target, notes.append)
    assert notes[0] == "Checked: rules, texts, listing, digests, predictions"
    make_service(board, workplace).run(Mode.DRAIN)
    view = board.participant.submission(view.id)
    assert (view.processing, view.trust) == (Processing.SCORED, Trust.RE_EVALUATED)
    assert (view.subset_samples, view.subset_unique) == (None, None)
    found = {result.task: result.score.value for result in view.results}
    for name, labels in digit_labels().items():
        assert (found[f"{name}-acc1"], found[f"{name}-acc5"]) == pytest.approx(counted(sets[name], labels))
    standings = board.participant.standings("guess", track="predictions", scale="digits")
    (row,) = standings.rows
    assert row.submission_id == view.id
    assert row.score is not None
    assert row.score.value == pytest.approx(np.mean([found[f"{name}-acc1"] for name in SETS]))
    assert submit(entry, board.participant, target, notes.append).id == view.id, "nothing is entered twice"


@pytest.mark.parametrize(
    ("order", "reason", "words"),
    [
        ([4, 3, 2, 1, 0], RejectionReason.PREDICTIONS_REVERSED, "digits-odd are in reverse: the best class is last"),
        ([1, 0, 2, 3, 4], RejectionReason.PREDICTIONS_DISORDERED, "digits-odd are not in order: column 1"),
    ],
)
def test_columns_out_of_order_end_invalid_when_labels_show_it(
    board: Board,
    workplace: Workplace,
    target: HubTarget,
    competition: Competition,
    tmp_path: Path,
    order: list[int],
    reason: RejectionReason,
    words: str,
) -> None:
    sets = all_guesses()
    entry = entry_of(tmp_path / "mine", competition, {**sets, SETS[1]: sets[SETS[1]][:, order]})
    submission = submit(entry, board.participant, target, lambda _note: None).id
    make_service(board, workplace).run(Mode.DRAIN)
    view = board.participant.submission(submission)
    assert view.processing is Processing.INVALID
    assert view.rejection is not None
    assert view.rejection.reason is reason
    assert words in view.rejection.message
    assert board.participant.standings("guess", track="predictions", scale="digits").rows == []


def test_transposed_predictions_end_invalid_where_the_kit_did_not_look(
    board: Board, workplace: Workplace, target: HubTarget, competition: Competition, tmp_path: Path
) -> None:
    sets = {name: top5.T for name, top5 in all_guesses().items()}
    entry = entry_of(tmp_path / "mine", competition, sets)
    ticket = entering.register(entry, target, {"predictions": "0" * 64}, board.participant)
    folder = tmp_path / "folder"
    manifest = assemble(entry, ticket, folder)
    submission = entering.deliver(manifest, folder, board.participant, target, lambda _note: None).id
    make_service(board, workplace).run(Mode.DRAIN)
    view = board.participant.submission(submission)
    assert view.processing is Processing.INVALID
    assert view.rejection is not None
    assert view.rejection.reason is RejectionReason.PREDICTIONS_TRANSPOSED
    assert "digits-even are transposed: their shape is (5, 270)" in view.rejection.message


def test_labels_that_are_not_there_are_the_platforms_fault(
    board: Board, workplace: Workplace, target: HubTarget, competition: Competition, tmp_path: Path
) -> None:
    (workplace.root / "evaluation" / SETS[1] / "labels.txt").write_text("0\n")
    entry = entry_of(tmp_path / "mine", competition, all_guesses())
    submission = submit(entry, board.participant, target, lambda _note: None).id
    make_service(board, workplace).run(Mode.DRAIN)
    view = board.participant.submission(submission)
    assert (view.processing, view.rejection) == (Processing.FAILED, None)
    assert view.failure is not None
    assert "has 1 labels instead of 270" in view.failure


def test_a_folder_is_verified_without_a_leaderboard_and_without_a_pool(
    workplace: Workplace, competition: Competition, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = entry_of(tmp_path / "mine", competition, all_guesses())
    ticket = SubmissionTicket(submission_id="sub-1", nonce="ab" * 32, processing=Processing.DRAFT)
    assemble(entry, ticket, tmp_path / "folder")
    verify.command(tmp_path / "folder", competition=str(workplace.root / "tiny.yaml"), as_json=True)
    told = capsys.readouterr()
    passed = {each["name"]: each["found"] for each in json.loads(told.out)["passed"]}
    assert list(passed) == ["rules", "texts", "listing", "digests", "predictions"]
    assert passed["predictions"] == {"sets": 2, "samples": 540}
    assert told.err == "", "there is no pool that could be missing"
