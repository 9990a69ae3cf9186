"""Submitting and fetching with the Hub's client of several versions, each in an environment of its own, over real HTTP.

The versions differ in their HTTP library (requests, httpx, httpx2) and in what they do with Xet, which no Hub but
huggingface.co speaks: from 1.20 on, with ``hf_xet`` installed, an upload fails unless Xet is switched off beforehand.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from competition.data.digests import file_sha256
from leaderboard.hub.app import HubSettings, Role, create_hub, create_token
from participant_kit.front_page import MARK
from tests.competition.verification.entries import COMPETITION_YAML, TASKS, TinyEntry
from tests.conftest import ROOT
from tests.hubmatrix.driver import PATH
from tests.hubmatrix.environments import NoIndexError, interpreter, newest
from tests.serving import serve

pytestmark = [pytest.mark.hubmatrix, pytest.mark.slow]

VERSIONS = {">=2,<3": "httpx2", ">=1,<2": "httpx", "==1.16.4": "httpx", ">=0.36,<0.37": "requests"}
"""The HTTP library of each. 1.16.4 is of those that have Xet and do without it where the Hub does."""
PART = 1_000_000


@dataclass
class Heard:
    """In front of a Hub: what was asked of it."""

    app: Any
    requests: list[str] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.requests.append(f"{scope['method']} {scope['path']}")
        await self.app(scope, receive, send)


@dataclass(frozen=True)
class RunningHub:
    """A served Hub that asks for files in parts from a megabyte on; ``token`` is ada's."""

    url: str
    token: str
    heard: Heard
    entry: Path


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    root = tmp_path_factory.mktemp("hub")
    entry = TinyEntry(tmp_path_factory.mktemp("entry")).build()
    entry.evaluation()
    entry.seal()
    heard = Heard(create_hub(HubSettings(root=root, multipart_chunk_bytes=PART)))
    with serve(heard) as url:
        yield RunningHub(url, create_token(root, "ada", Role.WRITE, None), heard, entry.folder)


@pytest.fixture(scope="module")
def versions() -> dict[str, str]:
    """The newest version of each requirement. Without a package index all is skipped, or fails where it is required."""
    try:
        return {requirement: newest(requirement) for requirement in VERSIONS}
    except NoIndexError as error:
        if "hubmatrix" in os.environ.get("DATACUP_REQUIRE", ""):
            pytest.fail(f"hubmatrix is required (DATACUP_REQUIRE), and {error}")
        pytest.skip(f"no package index: {error}")


def drive(python: Path, hub: RunningHub, name: str, scratch: Path) -> dict[str, Any]:
    """What the driver answers; no switch of the client is set from outside."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        closed = f"http://127.0.0.1:{held.getsockname()[1]}"
    request = {"endpoint": hub.url, "closed": closed, "folder": str(hub.entry), "scratch": str(scratch), "name": name}
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "DATACUP_", "PYTHON"))}
    ended = subprocess.run(
        [str(python), "-W", "error::UserWarning", "-m", "tests.hubmatrix.driver"],
        input=json.dumps({**request, "competition": COMPETITION_YAML}),
        env={**clean, "HF_TOKEN": hub.token, "HF_HOME": str(scratch / "home"), "PYTHONPATH": str(ROOT)},
        cwd=scratch,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize("xet", [True, False], ids=["xet", "plain"])
@pytest.mark.parametrize("requirement", VERSIONS)
def test_an_entry_goes_to_the_hub_and_comes_back(
    hub: RunningHub, versions: dict[str, str], tmp_path: Path, requirement: str, xet: bool
) -> None:
    version = versions[requirement]
    python = interpreter(version, xet=xet)
    name = f"of-{version}-{'xet' if xet else 'plain'}"
    hub.heard.requests.clear()
    found = drive(python, hub, name, tmp_path)
    assert (found["version"], found["library"], found["has_xet"]) == (version, VERSIONS[requirement], xet)
    assert found["heavy"] == []

    local = {path.name: file_sha256(path) for path in hub.entry.iterdir() if path.name != "submission.json"}
    assert {path: file_sha256(Path(place)) for path, place in found["files"].items()} == local
    api = HfApi(endpoint=hub.url, token=hub.token)
    assert found["repo"] == f"ada/{name}"
    assert found["sha"] == found["again"] == api.repo_info(found["repo"]).sha
    stored = {each.path.removeprefix(f"{PATH}/"): each for each in api.list_repo_tree(found["repo"], recursive=True)}
    model = hub.entry / "model.safetensors"
    assert (stored["model.safetensors"].lfs.sha256, stored["model.safetensors"].size) == (
        local["model.safetensors"],
        model.stat().st_size,
    )
    sent = [each for each in hub.heard.requests if each.startswith("PUT") and local["model.safetensors"] in each]
    assert len(sent) == -(-model.stat().st_size // PART) > 1, "in parts, and each of them once"
    assert not [each for each in hub.heard.requests if "xet" in each.lower().replace(name, "")]

    assert found["card"] == {
        "name": "A *name*", "tags": ["datacup", "tiny", "nano"], "results": dict.fromkeys(TASKS, 0.5), "index": True,
    }  # fmt: skip
    assert MARK in found["page"]
    # Of no other Hub than huggingface.co is it known that it speaks Xet.
    assert found["xet_is_off"] == {"https://huggingface.co": False, hub.url: True}
    kind, _, message = found["foreign"]
    assert (kind, "may not write" in message) == ("PermissionDeniedError", True)
    assert found["gone"][:2] == ["RejectionError", "repository_not_found"]
    assert found["closed"][0] == "ServiceUnavailableError"
