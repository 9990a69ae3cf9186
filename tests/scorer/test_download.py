"""Streaming files from a server that misbehaves: what breaks off goes on, what is wrong is told, digests are right."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scorer.download import Downloader, Received, UnexpectedSizeError, UnexpectedStatusError
from tests.serving import serve

CONTENT = random.Random(0).randbytes(300_000)
Answer = Callable[[int, dict[str, str], Any], Any]


class Server:
    """Answers each request by the next of ``answers``, the last one again and again; remembers what was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.headers: list[dict[str, str]] = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        answer = self.answers[min(len(self.headers), len(self.answers)) - 1]
        start = int(self.headers[-1].get("range", "bytes=0-")[6:-1])
        await answer(start, self.headers[-1], send)


def answer(
    status: int = 200, body: bytes = b"", *, promised: int | None = None, headers: dict[str, str] | None = None
) -> Answer:
    async def give(_start: int, _headers: dict[str, str], send: Any) -> None:
        sent = {"Content-Length": str(len(body) if promised is None else promised), **(headers or {})}
        pairs = [(name.encode(), value.encode()) for name, value in sent.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    return give


async def rest(start: int, _headers: dict[str, str], send: Any) -> None:
    """What a Range asks for."""
    await answer(206 if start else 200, CONTENT[start:])(start, {}, send)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    with serve(server) as address:
        yield f"{address}/file"


def download(url: str, target: Path, size: int = len(CONTENT), pauses: list[float] | None = None) -> Received:
    """Download without waiting between tries; ``pauses`` hears how long it would have been."""
    sleep = [].append if pauses is None else pauses.append
    with Downloader({"Authorization": "Bearer secret"}, 5, sleep) as downloader:
        return downloader.download(url, target, size, blob=True)


def test_what_breaks_off_goes_on_where_it_was_and_has_the_right_digests(
    server: Server, url: str, tmp_path: Path
) -> None:
    pauses: list[float] = []
    server.answers = [
        answer(503, headers={"Retry-After": "7"}),
        answer(429),
        answer(200, CONTENT[:100_000], promised=len(CONTENT)),
        rest,
    ]
    received = download(url, tmp_path / "file", pauses=pauses)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert received.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert received.blob == hashlib.sha1(b"blob 300000\0" + CONTENT).hexdigest()
    assert [headers.get("range") for headers in server.headers] == [None, None, None, "bytes=100000-"]
    assert {headers["accept-encoding"] for headers in server.headers} == {"identity"}
    assert pauses == [7.0, 2.0, 1.0], "as asked, then longer and longer, and from the start after progress"


def test_a_server_that_knows_no_ranges_is_heard_from_the_start(server: Server, url: str, tmp_path: Path) -> None:
    server.answers = [answer(200, b"x" * 100_000, promised=len(CONTENT)), answer(200, CONTENT)]
    received = download(url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert received.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert received.blob == hashlib.sha1(b"blob 300000\0" + CONTENT).hexdigest()


def test_tries_end(server: Server, url: str, tmp_path: Path) -> None:
    pauses: list[float] = []
    server.answers = [answer(500)]
    with pytest.raises(UnexpectedStatusError, match="HTTP 500"):
        download(url, tmp_path / "a")
    assert len(server.headers) == 5
    server.answers = [answer(200, b"", promised=len(CONTENT))]
    with pytest.raises(httpx.TransportError):
        download(url, tmp_path / "b")
    server.answers = [answer(503, headers={"Retry-After": "86400"}), answer(200, CONTENT)]
    server.headers.clear()
    download(url, tmp_path / "c", pauses=pauses)
    assert pauses == [30.0], "a server's wish is granted within reason"


@pytest.mark.parametrize("body", [CONTENT + b"x", CONTENT[:-1]])
def test_another_size_than_announced_is_not_taken(server: Server, url: str, tmp_path: Path, body: bytes) -> None:
    server.answers = [answer(200, body)]
    with pytest.raises((UnexpectedSizeError, httpx.TransportError)):
        download(url, tmp_path / "file")
    assert (tmp_path / "file").stat().st_size <= len(CONTENT)


def test_what_cannot_pass_is_told_at_once(server: Server, url: str, tmp_path: Path) -> None:
    server.answers = [answer(404, headers={"X-Error-Code": "RepoNotFound"})]
    with pytest.raises(UnexpectedStatusError) as caught:
        download(url, tmp_path / "file")
    assert (caught.value.status, caught.value.reason, len(server.headers)) == (404, "RepoNotFound", 1)


def test_the_token_stays_with_its_hub(server: Server, url: str, tmp_path: Path) -> None:
    elsewhere = Server()
    elsewhere.answers = [rest]
    with serve(elsewhere) as other:
        server.answers = [answer(302, headers={"Location": f"{other}/stored"})]
        assert download(url, tmp_path / "file").size == len(CONTENT)
    assert server.headers[0]["authorization"] == "Bearer secret"
    assert "authorization" not in elsewhere.headers[0]


def test_an_empty_file_is_a_file(server: Server, url: str, tmp_path: Path) -> None:
    server.answers = [answer(200, b"")]
    assert download(url, tmp_path / "file", 0).sha256 == hashlib.sha256(b"").hexdigest()
    assert (tmp_path / "file").stat().st_size == 0
