"""Hosts as a crawl meets them: good, slow, failing, redirecting, changing; and the rows of a pool that names them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from competition.data.metadata import write_metadata


def picture(number: int, size: tuple[int, int] = (80, 60)) -> bytes:
    """A JPEG of noise, so that blurring it shows."""
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


class Hosts:
    """A server on loopback. The first part of a path says how it behaves, the second which picture it is."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.broken = True
        self.gate = threading.Event()
        hosts = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hosts.requests[self.path] += 1
                # A proxy is asked for whole urls.
                _, behaviour, number = urlsplit(self.path).path.split("/")[:3]
                with contextlib.suppress(OSError):  # a client that has had enough
                    getattr(hosts, behaviour)(self, int(number))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def good(self, to: BaseHTTPRequestHandler, number: int) -> None:
        send(to, 200, picture(number))

    def large(self, to: BaseHTTPRequestHandler, number: int) -> None:
        send(to, 200, picture(number, (1100, 700)))

    def gone(self, to: BaseHTTPRequestHandler, number: int) -> None:
        send(to, 404, b"")

    def flaky(self, to: BaseHTTPRequestHandler, number: int) -> None:
        send(to, 503 if self.broken else 200, b"" if self.broken else picture(number))

    def moved(self, to: BaseHTTPRequestHandler, number: int) -> None:
        send(to, 302, b"", Location=f"/good/{number}")

    def circular(self, to: BaseHTTPRequestHandler, number: int) -> None:
        send(to, 302, b"", Location=f"/circular/{number}")

    def away(self, to: BaseHTTPRequestHandler, number: int) -> None:
        send(to, 302, b"", Location="file:///etc/hostname")

    def changed(self, to: BaseHTTPRequestHandler, number: int) -> None:
        send(to, 200, picture(number + 1_000))

    def page(self, to: BaseHTTPRequestHandler, number: int) -> None:
        send(to, 200, b"<html>no longer here</html>")

    def forbidding(self, to: BaseHTTPRequestHandler, number: int) -> None:
        send(to, 200, picture(number), **{"X-Robots-Tag": "noai"})

    def torn(self, to: BaseHTTPRequestHandler, number: int) -> None:
        to.send_response(200)
        to.send_header("Content-Length", "5000")
        to.end_headers()
        to.wfile.write(picture(number)[:300])
        to.close_connection = True

    def dripping(self, to: BaseHTTPRequestHandler, number: int) -> None:
        to.send_response(200)
        to.end_headers()
        to.close_connection = True
        for byte in picture(number):
            to.wfile.write(bytes([byte]))
            if self.gate.wait(0.2):
                return

    def silent(self, to: BaseHTTPRequestHandler, number: int) -> None:
        """Sends header after header and never comes to the body."""
        to.close_connection = True
        to.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.gate.wait(0.2):
            to.wfile.write(b"x")

    def endless(self, to: BaseHTTPRequestHandler, number: int) -> None:
        to.send_response(200)
        to.end_headers()
        to.close_connection = True
        for _ in range(64):
            to.wfile.write(bytes(1 << 16))

    def waiting(self, to: BaseHTTPRequestHandler, number: int) -> None:
        """Answers when the test says so."""
        self.gate.wait(20)
        self.good(to, number)


def send(to: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    to.send_response(status)
    for name, value in headers.items():
        to.send_header(name, value)
    to.send_header("Content-Length", str(len(body)))
    to.end_headers()
    to.wfile.write(body)


@contextmanager
def hosts() -> Iterator[Hosts]:
    """Served until the block ends."""
    served = Hosts()
    try:
        yield served
    finally:
        served.close()


def uid(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def metadata_file(
    folder: Path, name: str, urls: Sequence[str], boxes: Sequence[list[list[float]]] | None = None
) -> Path:
    """A metadata file of these urls; the published sha256 is that of the picture whose number ends the url."""
    numbers = [int(url.rpartition("/")[2]) if url.rpartition("/")[2].isdigit() else 0 for url in urls]
    large = ["/large/" in url for url in urls]
    originals = [picture(n, (1100, 700) if big else (80, 60)) for n, big in zip(numbers, large, strict=True)]
    rows = {
        "uid": [uid(number) for number in numbers],
        "url": list(urls),
        "text": [f"picture {number}" for number in numbers],
        "original_width": [80] * len(urls),
        "original_height": [60] * len(urls),
        "clip_b32_similarity_score": [0.3] * len(urls),
        "clip_l14_similarity_score": [0.3] * len(urls),
        "face_bboxes": list(boxes or [[]] * len(urls)),
        "sha256": [hashlib.sha256(data).hexdigest() for data in originals],
    }
    return write_metadata(folder, hashlib.md5(name.encode()).hexdigest(), rows)


def url_table(path: Path, urls: Sequence[str | None], captions: Sequence[str | None]) -> Path:
    """A participant's own parquet of urls and captions."""
    pq.write_table(pa.table({"link": list(urls), "alt": list(captions)}), path)
    return path


def until(condition: Any, seconds: float = 20.0) -> None:
    """Wait for something that happens in another process."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
