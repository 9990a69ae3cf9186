"""A real Hub on loopback with evaluation sets of DataComp's names, that can misbehave."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import huggingface_hub
import numpy as np
from huggingface_hub import HfApi
from PIL import Image
from sklearn.datasets import load_digits

from competition.data.shards import Sample, write_samples
from leaderboard.hub.app import HubSettings, Role, create_hub, create_token
from tests.serving import serve


class UnrulyHub:
    """The Hub, noting what is fetched. Of files named in ``spoiled`` other bytes come, of ``swollen`` ones more;
    ``torn`` ones end after some bytes, once; while ``down``, files are refused, and ``gated`` repositories always."""

    def __init__(self, root: Path) -> None:
        self._app = create_hub(HubSettings(root=root, max_regular_bytes=3_000))
        self.fetched: list[str] = []
        self.ranges: list[bytes] = []
        self.calls = 0
        self.spoiled: set[str] = set()
        self.swollen: set[str] = set()
        self.torn: dict[str, int] = {}
        self.down = False
        self.down_after_tear = False
        self.gated: set[str] = set()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.calls += 1
        path = scope["path"]
        name = path.partition("/resolve/")[2].partition("/")[2]
        getting = bool(name) and scope["method"] == "GET"
        if any(repo in path for repo in self.gated):
            await _refuse(send, 403, [(b"x-error-code", b"GatedRepo")])
            return
        if getting and self.down:
            await _refuse(send, 500, [])
            return
        if getting:
            self.fetched.append(name)
            self.ranges += [value for header, value in scope["headers"] if header == b"range"]
        await self._app(scope, receive, self._spoiling(name if getting else "", send))

    def _spoiling(self, name: str, send):
        sent = 0

        async def spoiling(message) -> None:
            nonlocal sent
            if message.get("body") and name in self.spoiled:
                message = {**message, "body": bytes(len(message["body"]))}
            if name in self.swollen and message["type"] == "http.response.start":
                kept = [(key, value) for key, value in message["headers"] if key != b"content-length"]
                message = {**message, "headers": kept}
            if name in self.swollen and message["type"] == "http.response.body" and not message.get("more_body"):
                message = {**message, "body": message["body"] + b"more"}
            await send(message)
            sent += len(message.get("body", b""))
            if name in self.torn and sent > self.torn[name]:
                del self.torn[name]
                self.down = self.down_after_tear
                raise ConnectionResetError("torn")

        return spoiling


async def _refuse(send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@dataclass(frozen=True)
class Published:
    """A Hub and what is on it."""

    url: str
    app: UnrulyHub
    api: HfApi
    local: Path
    commits: dict[str, str] = field(default_factory=dict)

    def publish(self, name: str, folder: Path | None = None) -> str:
        """Upload a set (made from digits unless it is given) as ``djghosh/<name>``; returns the commit."""
        made = folder or digits_set(self.local / name)
        repo = f"djghosh/{name}"
        self.api.create_repo(repo, repo_type="dataset", exist_ok=True)
        commit = str(self.api.upload_folder(repo_id=repo, folder_path=made, repo_type="dataset").oid)
        self.commits[name] = commit
        return commit


@contextmanager
def published(folder: Path) -> Iterator[Published]:
    """A Hub below ``folder``."""
    app = UnrulyHub(folder / "hub")
    with serve(app) as url:
        token = create_token(folder / "hub", "djghosh", Role.WRITE, None)
        local = folder / "published"
        local.mkdir()
        yield Published(url, app, HfApi(endpoint=url, token=token), local)
    huggingface_hub.close_session()


def png(pixels: np.ndarray) -> bytes:
    """Pixels uint8 [H, W] or [H, W, 3] as a png."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def digit_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's first digits: uint8 [count, 8, 8] and labels [count]."""
    digits = load_digits()
    return np.clip(digits.images[:count] * 16, 0, 255).astype(np.uint8), digits.target[:count].astype(np.int64)


def digits_set(folder: Path, shards: int = 2, per_shard: int = 10) -> Path:
    """A classification set in CLIP_benchmark's webdataset layout, with a page that is no part of it."""
    (folder / "test").mkdir(parents=True)
    images, labels = digit_images(shards * per_shard)
    for shard in range(shards):
        rows = range(shard * per_shard, (shard + 1) * per_shard)
        samples = [Sample(f"s{row:07d}", {"png": png(images[row]), "cls": str(labels[row]).encode()}) for row in rows]
        write_samples(folder / "test" / f"{shard}.tar", samples)
    (folder / "test" / "nshards.txt").write_text(str(shards))
    (folder / "classnames.txt").write_text("\n".join(f"digit {number}" for number in range(10)))
    (folder / "zeroshot_classification_templates.txt").write_text("a photo of the {c}.\n")
    (folder / "README.md").write_text("A set.")
    return folder
