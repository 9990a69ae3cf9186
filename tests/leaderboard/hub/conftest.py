"""A Hub on a loopback port, and the official client talking to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.utils import disable_progress_bars

from leaderboard.hub.app import HubSettings, Role, create_hub, create_token
from tests.serving import serve

# Small, so that a few hundred kilobytes exercise what gigabytes do in earnest.
CHUNK = 200_000


@dataclass(frozen=True)
class RunningHub:
    """A served Hub; ``token`` belongs to the user alice."""

    url: str
    root: Path
    token: str

    def new_token(self, user: str = "bob", role: Role = Role.WRITE, lifetime: timedelta = timedelta(hours=1)) -> str:
        return create_token(self.root, user, role, datetime.now(UTC) + lifetime)

    def api(self, token: str | bool | None = None) -> HfApi:
        """The official client; as alice unless another token, or False for none, is given."""
        return HfApi(endpoint=self.url, token=self.token if token is None else token)


@pytest.fixture(scope="session", autouse=True)
def plain_client() -> Iterator[None]:
    """The client as a participant must set it up for a Hub without Xet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        disable_progress_bars()
        yield
    huggingface_hub.close_session()


@pytest.fixture
def start_hub(tmp_path: Path) -> Iterator[Callable[..., RunningHub]]:
    """Start a Hub with any settings, all over one root folder."""
    root = tmp_path / "hub"
    with ExitStack() as stack:

        def start(**settings: object) -> RunningHub:
            defaults: dict[str, object] = {"max_regular_bytes": 50_000, "multipart_chunk_bytes": CHUNK}
            app = create_hub(HubSettings(root=root, **(defaults | settings)))
            token = create_token(root, "alice", Role.WRITE, None)
            return RunningHub(stack.enter_context(serve(app)), root, token)

        yield start


@pytest.fixture
def hub(start_hub: Callable[..., RunningHub]) -> RunningHub:
    return start_hub()


@pytest.fixture
def repo(hub: RunningHub) -> str:
    """An empty model repository of alice's."""
    return hub.api().create_repo("alice/entry").repo_id
