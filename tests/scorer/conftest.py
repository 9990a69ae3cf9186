"""A real Hub on a loopback port with entries of the tiny competition, and the folders of a scorer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import structlog
from huggingface_hub import HfApi, constants
from huggingface_hub.utils.tqdm import disable_progress_bars

from competition.canonical import digest
from competition.client import LeaderboardClient
from competition.records.lifecycle import chain_is_intact
from competition.records.submission import SubmissionRegistration, SubmissionRevision
from competition.rules import Competition
from leaderboard.accounts.service import create_token as create_api_token
from leaderboard.accounts.viewer import Scope
from leaderboard.app import create_app
from leaderboard.clock import utc_now
from leaderboard.competitions.service import publish
from leaderboard.database import Database
from leaderboard.hub.app import HubSettings, Role, create_hub, create_token
from leaderboard.models import Base
from leaderboard.settings import Settings
from tests.competition.verification.entries import (
    COMPETITION_YAML,
    TinyEntry,
    tiny_competition,
    write_evaluation_sets,
    write_pool,
)
from tests.serving import serve


@dataclass
class Gate:
    """In front of an application: counts requests by path, and answers ``status`` to everything while it is set.

    ``after`` is called when a request has been answered.
    """

    app: Any
    status: int | None = None
    after: Callable[[str], None] | None = None
    requests: list[str] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.requests.append(f"{scope['method']} {scope['path']}")
            if self.status is not None:
                await send({"type": "http.response.start", "status": self.status, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await self.app(scope, receive, send)
        if scope["type"] == "http" and self.after is not None:
            self.after(f"{scope['method']} {scope['path']}")


@dataclass(frozen=True)
class RunningHub:
    """A served Hub; ``token`` belongs to the user alice."""

    url: str
    token: str
    gate: Gate

    def api(self) -> HfApi:
        return HfApi(endpoint=self.url, token=self.token)

    def upload(self, entry: TinyEntry, repo: str = "alice/entry", path: str = "tiny/entry") -> str:
        """Commit the entry's folder and return the commit's sha."""
        self.api().create_repo(repo, exist_ok=True)
        return str(self.api().upload_folder(repo_id=repo, folder_path=entry.folder, path_in_repo=path).oid)


@pytest.fixture(scope="session", autouse=True)
def plain_client() -> Iterator[None]:
    """The client as a participant must set it up for a Hub without Xet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setenv("HF_HUB_DISABLE_XET", "1")
        disable_progress_bars()
        yield
    huggingface_hub.close_session()


@pytest.fixture(autouse=True)
def logs_of_this_test_alone() -> Iterator[None]:
    """A command that ran in this process has pointed the logs to a stream that ends with its test."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    root = tmp_path / "hub"
    gate = Gate(create_hub(HubSettings(root=root)))
    token = create_token(root, "alice", Role.WRITE, None)
    with serve(gate) as url:
        yield RunningHub(url, token, gate)


@pytest.fixture
def competition() -> Competition:
    return tiny_competition()


@dataclass(frozen=True)
class Workplace:
    """The folders of one scorer, filled, and the environment variables that name them."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DATACUP_MIRROR": str(self.root / "mirror"),
            "DATACUP_POOLS": str(self.root / "pools"),
            "DATACUP_EVALUATION": str(self.root / "evaluation"),
            "DATACUP_COMPETITIONS": str(self.root / "tiny.yaml"),
            "DATACUP_HUBS": "",
        }


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    root = tmp_path / "scorer"
    root.mkdir()
    write_pool(root / "pools")
    write_evaluation_sets(root / "evaluation")
    (root / "tiny.yaml").write_text(COMPETITION_YAML)
    return Workplace(root)


@dataclass
class Board:
    """A served leaderboard with the tiny competition, its clients, and a clock that can be moved."""

    url: str
    gate: Gate
    scorer_token: str
    participant: LeaderboardClient
    clock: MovableClock
    clients: ExitStack

    def client(self) -> LeaderboardClient:
        """A scorer's client that does not wait long."""
        client = LeaderboardClient(self.url, self.scorer_token, attempts=3, sleep=lambda _seconds: None)
        return self.clients.enter_context(client)

    def story(self, submission_id: str) -> list[str]:
        """The event log in short: kind, and where to or which task or how it was said."""
        events = self.participant.events(submission_id)
        assert chain_is_intact(events)
        return [" ".join(filter(None, [event.kind, event.after, event.detail.get("task")])) for event in events]


class MovableClock:
    """The machine's time, plus whatever a test adds to it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@pytest.fixture
def board(tmp_path: Path, competition: Competition) -> Iterator[Board]:
    data = tmp_path / "board"
    data.mkdir()
    settings = Settings(
        data_dir=data, lease_seconds=6, backoff_seconds=0.0, reaper_seconds=0.2, max_attempts=4, hubs=()
    )
    database = Database(settings.url)
    Base.metadata.create_all(database.engine)
    now = utc_now()
    with database.writing() as session:
        publish(session, competition, now)
        tokens = [
            create_api_token(session, account=name, scopes=[scope], now=now, expires_at=now + timedelta(days=9))
            for name, scope in (("alice", Scope.SUBMIT), ("rater", Scope.SCORE))
        ]
    database.close()
    clock = MovableClock()
    gate = Gate(create_app(settings, clock=clock))
    with serve(gate) as url, ExitStack() as clients:
        participant = clients.enter_context(LeaderboardClient(url, tokens[0]))
        yield Board(url, gate, tokens[1], participant, clock, clients)


Enter = Callable[..., str]


@pytest.fixture
def enter(board: Board, hub: RunningHub, tmp_path: Path) -> Enter:
    """Enter an entry as a participant does; returns the submission's id. ``damage`` works on the sealed folder.

    Entries of one ``seed`` have the same files; each but the first is another ``twin``.
    """

    def enter(seed: int = 0, damage: Callable[[TinyEntry], object] = lambda _entry: None, twin: int = 0) -> str:
        registration = SubmissionRegistration(
            idempotency_key=digest([str(tmp_path), seed, twin]),
            competition="tiny",
            track="filtering",
            scale="nano",
            method_name=f"weights {seed}",
            author="a tester",
            hub_endpoint=hub.url,
            repo="alice/entries",
        )
        ticket = board.participant.register(registration)
        entry = (
            TinyEntry(
                tmp_path / (f"entry-{seed}-{twin}" if twin else f"entry-{seed}"), ticket.submission_id, ticket.nonce
            )
            .build(seed)
            .seal()
        )
        damage(entry)
        path = f"tiny/filtering/nano/{ticket.submission_id}"
        revision = hub.upload(entry, "alice/entries", path)
        board.participant.set_revision(ticket.submission_id, SubmissionRevision(revision=revision, path=path))
        return ticket.submission_id

    return enter
