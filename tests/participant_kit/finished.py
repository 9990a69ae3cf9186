"""A finished, evaluated run of the tiny competition, as a participant has it before entering, and its leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from competition.client import LeaderboardClient
from competition.rules import find_scale, find_track
from leaderboard.accounts.service import create_token
from leaderboard.accounts.viewer import Scope
from leaderboard.app import create_app
from leaderboard.clock import utc_now
from leaderboard.competitions.service import publish
from leaderboard.database import Database
from leaderboard.models import Base
from leaderboard.settings import Settings
from participant_kit.evaluation import evaluate_run
from participant_kit.submission import Entry
from tests.competition.verification.entries import TinyEntry, tiny_competition, write_evaluation_sets
from tests.serving import serve


@dataclass
class Board:
    """A served leaderboard and the client of a participant."""

    url: str
    token: str
    client: LeaderboardClient


@contextmanager
def served_board(folder: Path, in_front: Callable[[Any], Any] = lambda app: app) -> Iterator[Board]:
    """A leaderboard with the tiny competition, on a database in ``folder``; ``ada`` may submit."""
    settings = Settings(data_dir=folder, hubs=())
    database = Database(settings.url)
    Base.metadata.create_all(database.engine)
    now = utc_now()
    with database.writing() as session:
        publish(session, tiny_competition(), now)
        expires = now + timedelta(days=1)
        token = create_token(session, account="ada", scopes=[Scope.SUBMIT], now=now, expires_at=expires)
    database.close()
    with serve(in_front(create_app(settings))) as url, LeaderboardClient(url, token) as client:
        yield Board(url, token, client)


def finished_entry(folder: Path) -> Entry:
    """The run ``<folder>/runs/first`` and its subset ``<folder>/subset.npy`` of 23 uids, 20 of them distinct."""
    competition = tiny_competition()
    run = folder / "runs" / "first"
    TinyEntry(run).build()
    (run / "subset.npy").rename(folder / "subset.npy")
    (run / "train_log.jsonl").write_text('{"step": 1}\n')
    write_evaluation_sets(folder / "evaluation")
    evaluate_run(run, competition, folder / "evaluation", lambda _progress: None)
    return Entry(
        competition=competition,
        track=find_track(competition, "filtering"),
        scale=find_scale(competition, "nano"),
        run_dir=run,
        subset=folder / "subset.npy",
        method_name="Tiny *method* < &amp;",
        author="Ada",
        description="# not a heading",
    )
