"""A real Hub on a loopback port with entries of the tiny competition, and the folders of a scorer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.utils.tqdm import disable_progress_bars

from competition.rules import Competition
from leaderboard.hub.app import HubSettings, Role, create_hub, create_token
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
    """In front of an application: counts requests by path, and answers ``status`` to everything while it is set."""

    app: Any
    status: int | None = None
    requests: list[str] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.requests.append(f"{scope['method']} {scope['path']}")
            if self.status is not None:
                await send({"type": "http.response.start", "status": self.status, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await self.app(scope, receive, send)


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
        }


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    root = tmp_path / "scorer"
    root.mkdir()
    write_pool(root / "pools")
    write_evaluation_sets(root / "evaluation")
    (root / "tiny.yaml").write_text(COMPETITION_YAML)
    return Workplace(root)
