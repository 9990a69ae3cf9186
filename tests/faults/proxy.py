"""A small HTTP proxy in front of a server, which spoils chosen exchanges: for a Hub or an API that misbehaves."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Reply:
    """An answer. ``length`` is what ``Content-Length`` says, the body's own length where it is None."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    length: int | None = None

    def with_body(self, body: bytes) -> Reply:
        """The same answer, announced as before, with other bytes."""
        return replace(self, body=body, length=self.length if self.length is not None else len(self.body))


@dataclass
class Exchange:
    """One request and what is done about it."""

    request: str
    body: bytes
    handler: BaseHTTPRequestHandler
    upstream: str

    def forward(self) -> Reply:
        """Ask the server behind the proxy."""
        parts = urlsplit(self.upstream)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            method, path = self.request.split(" ", 1)
            connection.request(method, path, body=self.body or None, headers=dict(self.handler.headers))
            answer = connection.getresponse()
            body = answer.read()
            headers = tuple(pair for pair in answer.getheaders() if pair[0].lower() not in _HOP_BY_HOP)
            announced = answer.getheader("Content-Length")
            return Reply(answer.status, headers, body, int(announced) if announced else None)
        finally:
            connection.close()

    def answer(self, reply: Reply, *, piece: int = 0, pause: float = 0.0) -> None:
        """Send an answer; ``piece`` bytes at a time with a ``pause`` in seconds after each, when they are given."""
        handler = self.handler
        handler.send_response(reply.status)
        for name, value in reply.headers:
            handler.send_header(name, value)
        length = len(reply.body) if reply.length is None else reply.length
        if reply.status != 204:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        size = piece or max(1, len(reply.body))
        for start in range(0, len(reply.body), size):
            handler.wfile.write(reply.body[start : start + size])
            handler.wfile.flush()
            time.sleep(pause)
        if handler.command != "HEAD" and len(reply.body) != length:
            self.drop()

    def drop(self) -> None:
        """End the connection without (another word of) an answer."""
        self.handler.close_connection = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)


Act = Callable[[Exchange], None]


@dataclass
class Fault:
    """What happens to the exchanges that it waits for; ``happened`` counts them."""

    matches: Callable[[str], bool]
    act: Act
    times: int
    happened: int = 0


@dataclass
class Proxy:
    """A running proxy. Requests are lines like ``GET /path``."""

    upstream: str
    url: str = ""
    requests: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    _faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on(self, matches: Callable[[str], bool], act: Act, *, times: int = 1) -> Fault:
        """The next ``times`` requests that match meet ``act`` instead of being passed on."""
        fault = Fault(matches, act, times)
        self._faults.append(fault)
        return fault

    def handle(self, exchange: Exchange) -> None:
        """Pass an exchange on, or spoil it."""
        with self._lock:
            self.requests.append(exchange.request)
            found = next((f for f in self._faults if f.happened < f.times and f.matches(exchange.request)), None)
            if found is not None:
                found.happened += 1
        if found is not None:
            found.act(exchange)
            return
        try:
            reply = exchange.forward()
        except OSError:
            exchange.drop()
            return
        self.statuses.append(reply.status)
        exchange.answer(reply)


@contextmanager
def open_proxy(upstream: str) -> Iterator[Proxy]:
    """A proxy on a free loopback port; its ``upstream`` may be changed while it runs."""
    proxy = Proxy(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                proxy.handle(Exchange(f"{self.command} {self.path}", body, self, proxy.upstream))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client is dead, as was wanted

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
