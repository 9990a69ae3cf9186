"""An entry with data of its own goes the whole way: registered, fetched, verified, compared, scored, in the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from competition.canonical import digest
from competition.records.lifecycle import Processing
from competition.records.submission import SubmissionRegistration, SubmissionRevision
from competition.rules import Competition
from scorer.work import Mode
from tests.competition.verification.entries import TASKS
from tests.competition.verification.own_entries import OWN_YAML, OwnEntry, own_competition, rows, samples
from tests.scorer.conftest import Board, RunningHub, Workplace
from tests.scorer.test_service import make_service

pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:It seems that you are about to commit a data file:UserWarning"),
]


@pytest.fixture
def competition() -> Competition:
    return own_competition()


def test_an_entry_with_shards_and_a_table_of_its_own_is_scored(
    board: Board, workplace: Workplace, hub: RunningHub, tmp_path: Path
) -> None:
    (workplace.root / "tiny.yaml").write_text(OWN_YAML)
    registration = SubmissionRegistration(
        idempotency_key=digest([str(tmp_path)]),
        competition="tiny",
        track="byod",
        scale="nano",
        method_name="mine",
        author="a tester",
        hub_endpoint=hub.url,
        repo="alice/entries",
    )
    ticket = board.participant.register(registration)
    entry = OwnEntry(tmp_path / "entry", ticket.submission_id, ticket.nonce)
    entry.build()
    entry.table(rows(7))
    entry.shard(samples(5)).seal()
    path = f"tiny/byod/nano/{ticket.submission_id}"
    revision = hub.upload(entry, "alice/entries", path)
    board.participant.set_revision(ticket.submission_id, SubmissionRevision(revision=revision, path=path))

    make_service(board, workplace).run(Mode.DRAIN)

    view = board.participant.submission(ticket.submission_id)
    assert view.processing is Processing.SCORED, view.rejection or view.failure
    assert {result.task for result in view.results} == set(TASKS)
    shares = [e.detail["test_image_shares"] for e in board.participant.events(view.id) if e.after == "queued"]
    assert shares == [dict.fromkeys(TASKS, 0.0)]
    (row,) = board.participant.standings("tiny", track="byod", scale="nano").rows
    assert (row.submission_id, row.rank) == (view.id, 1)
