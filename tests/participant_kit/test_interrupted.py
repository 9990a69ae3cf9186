"""``datacup submit`` in a process of its own, killed while it uploads: the same command finishes what was begun."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from competition.data.digests import file_sha256
from competition.records.lifecycle import Processing
from competition.records.manifest import MANIFEST_NAME, FileRole, SubmissionManifest
from leaderboard.hub.app import HubSettings, Role, create_hub, create_token
from participant_kit.submission import Entry
from tests.competition.verification.entries import COMPETITION_YAML
from tests.conftest import ROOT
from tests.participant_kit.finished import Board, finished_entry, served_board
from tests.serving import serve


@dataclass
class Uploads:
    """In front of a Hub: while ``holding``, no large file but one of digest ``through`` gets in.

    ``stored`` has the digest of every file whose upload the Hub answered with success, ``stuck`` is set when one was
    stored and another is held.
    """

    app: Any
    through: str
    holding: bool = True
    stored: list[str] = field(default_factory=list)
    held: int = 0
    stuck: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "PUT" or not scope["path"].startswith("/lfs/"):
            await self.app(scope, receive, send)
            return
        digest = scope["path"].split("/")[5]
        if digest != self.through:
            self.held += 1
            self._look()
            while self.holding:  # noqa: ASYNC110 - it is another thread that lets go
                await asyncio.sleep(0.01)

        async def told(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                self.stored.append(digest)
                self._look()
            await send(message)

        await self.app(scope, receive, told)

    def _look(self) -> None:
        if self.held and self.stored:
            self.stuck.set()


@dataclass
class Overheard:
    """In front of a leaderboard: every byte of every request, headers and bodies."""

    app: Any = None
    heard: bytearray = field(default_factory=bytearray)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def told() -> Any:
            message = await receive()
            self.heard += message.get("body", b"")
            return message

        for name, value in scope.get("headers", ()):
            self.heard += name + b": " + value + b"\n"
        await self.app(scope, told, send)

    def listen(self, app: Any) -> Overheard:
        self.app = app
        return self


def command(entry: Entry, folder: Path) -> list[str]:
    """What a participant types."""
    rules = folder / "tiny.yaml"
    words = ["submit", "--competition", rules, "--track", "filtering", "--scale", "nano", "--samples", entry.subset]
    words += ["--train-output-dir", entry.run_dir, "--method-name", "Tiny", "--author", "Ada", "--hf-repo-name", "tiny"]
    return [sys.executable, "-c", "from participant_kit.cli import main; main()", *map(str, words)]


def environment(board: Board, hub: str, folder: Path) -> dict[str, str]:
    """The machine of a participant; no switch for Xet is set, so that the command has to know what the Hub speaks."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DATACUP_", "HF_"))}
    token = create_token(folder / "hub", "ada", Role.WRITE, None)
    told = {"DATACUP_ENDPOINT": board.url, "DATACUP_TOKEN": board.token, "HF_ENDPOINT": hub, "HF_TOKEN": token}
    return {**clean, **told, "HF_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}


def test_a_submit_that_was_killed_is_finished_without_sending_finished_files_again(tmp_path: Path) -> None:
    entry = finished_entry(tmp_path)
    (tmp_path / "tiny.yaml").write_text(COMPETITION_YAML)
    model = file_sha256(entry.run_dir / "model.safetensors")
    uploads = Uploads(create_hub(HubSettings(root=tmp_path / "hub")), through=model)
    leaderboard = Overheard()
    with served_board(tmp_path, leaderboard.listen) as board, serve(uploads) as hub:
        machine = environment(board, hub, tmp_path)
        words = command(entry, tmp_path)
        with subprocess.Popen(words, env=machine, stderr=subprocess.PIPE, text=True) as first:
            seen = uploads.stuck.wait(100)
            first.kill()
            notes = first.communicate()[1]
        uploads.holding = False
        assert seen, notes
        (draft,) = board.client.submissions().items
        assert (draft.processing, draft.revision) == (Processing.DRAFT, None)
        api = HfApi(endpoint=hub, token=machine["HF_TOKEN"])
        assert api.list_repo_files("ada/tiny") == []

        second = subprocess.run(words, env=machine, capture_output=True, text=True, check=False, timeout=100)
        assert second.returncode == 0, second.stderr
        (view,) = board.client.submissions().items
        assert (view.id, view.processing) == (draft.id, Processing.RECEIVED)
        folder = entry.run_dir / "submissions" / view.id
        manifest = SubmissionManifest.model_validate_json((folder / MANIFEST_NAME).read_bytes())
        assert view.path == f"tiny/filtering/nano/{view.id}"
        assert view.revision == api.repo_info("ada/tiny").sha
        names = {file.path for file in manifest.files} | {MANIFEST_NAME}
        found = set(api.list_repo_files("ada/tiny", revision=view.revision))
        assert found == {"README.md", *(f"{view.path}/{name}" for name in names)}
        assert uploads.stored.count(model) == 1, "the model was there already"
        assert uploads.stored.count(manifest.only(FileRole.SUBSET).sha256) == 1
        assert board.token.encode() in leaderboard.heard
        assert machine["HF_TOKEN"].encode() not in leaderboard.heard, "a Hub token is nobody's business"
        assert not [path for path in entry.run_dir.iterdir() if path.name.startswith(".checked-")]
