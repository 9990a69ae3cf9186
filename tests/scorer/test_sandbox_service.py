"""The service where the processes that read entries may write next to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from competition.evaluation.set_cache import CACHE_FOLDER
from competition.records.lifecycle import Processing
from scorer.settings import ScorerSettings
from scorer.work import Mode
from tests.scorer.conftest import Board, Enter, Workplace
from tests.scorer.test_sandbox import isolated
from tests.scorer.test_service import make_service

pytestmark = [isolated, pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")]


def test_a_damaged_file_of_the_mirror_is_set_aside_by_who_may_write_and_fetched_again(
    board: Board, workplace: Workplace, enter: Enter
) -> None:
    submission = enter()
    make_service(board, workplace).run(Mode.ONCE)
    mirror = Path(workplace.environment["DATACUP_MIRROR"])
    model = max((path for path in mirror.glob("objects/*/*/*")), key=lambda path: path.stat().st_size)
    whole = model.read_bytes()
    model.chmod(0o600)
    model.write_bytes(bytes(len(whole)))
    make_service(board, workplace).run(Mode.DRAIN)
    assert board.participant.submission(submission).processing is Processing.SCORED
    assert (mirror / "damaged" / model.name).read_bytes() == bytes(len(whole))
    assert model.read_bytes() == whole
    failures = [event for event in board.participant.events(submission) if event.kind == "platform_failure"]
    assert ["has been set aside" in event.detail["message"] for event in failures] == [True]


def test_decoded_sets_are_where_processes_may_write(tmp_path: Path) -> None:
    settings = ScorerSettings(evaluation=tmp_path)
    assert settings.decoded_root == tmp_path.resolve() / CACHE_FOLDER
