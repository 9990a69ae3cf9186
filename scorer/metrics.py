"""What a scorer has done, counted from its events, and the page from which Prometheus reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from competition.errors import UsageError
from competition.exposition import CONTENT_TYPE, Family, exposition

_OUTCOMES = frozenset({"verified", "scored", "invalid", "failed", "abandoned"})
_SOCKET_S = 10.0


class Metrics:
    """An observer of a service (``scorer.work.Observer``); may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: dict[tuple[int, int], float] = {}
        self._claims = Family("datacup_scorer_claims_total", "counter", "Jobs that were claimed.", ("kind",))
        self._outcomes = Family(
            "datacup_scorer_jobs_total", "counter", "Jobs that ended, by how they ended.", ("kind", "outcome")
        )
        self._seconds = Family(
            "datacup_scorer_job_seconds_total", "counter", "Time between claims and ends of jobs.", ("kind", "outcome")
        )
        self._reasons = Family(
            "datacup_scorer_rejections_total", "counter", "Entries that were found invalid, by reason.", ("reason",)
        )
        self._tasks = Family("datacup_scorer_tasks_total", "counter", "Results that were handed in.", ("task",))
        self._task_seconds = Family(
            "datacup_scorer_task_seconds_total", "counter", "Time that evaluations of tasks took.", ("task",)
        )
        self._bytes = Family("datacup_scorer_mirrored_bytes_total", "counter", "Bytes of entries that were mirrored.")
        self._running = Family("datacup_scorer_running_jobs", "gauge", "Jobs that are being worked on.", ("kind",))

    def __call__(self, event: dict[str, Any]) -> None:
        """Count an event."""
        name, kind, identity = event["event"], event["kind"], (event["job"], event["attempt"])
        with self._lock:
            if name == "claimed":
                self._started[identity] = time.monotonic()
                self._claims.add(1, kind)
                self._running.add(1, kind)
            elif name == "task":
                self._tasks.add(1, event["task"])
                self._task_seconds.add(event["seconds"], event["task"])
            elif name == "mirrored":
                self._bytes.add(event["bytes"])
            elif name in _OUTCOMES and (began := self._started.pop(identity, None)) is not None:
                self._running.add(-1, kind)
                self._outcomes.add(1, kind, name)
                self._seconds.add(time.monotonic() - began, kind, name)
                if name == "invalid":
                    self._reasons.add(1, event["reason"])

    def page(self) -> str:
        """All that was counted, in the format that Prometheus reads."""
        with self._lock:
            return exposition(
                (self._claims, self._outcomes, self._seconds, self._reasons, self._tasks, self._task_seconds,
                 self._bytes, self._running)
            )  # fmt: skip


@contextmanager
def served(metrics: Metrics, host: str, port: int) -> Iterator[int]:
    """Serve ``/metrics`` from a thread while the block runs; the port, chosen by the system for port 0.

    Raises ``UsageError`` when the address cannot be listened on.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = _SOCKET_S

        def do_GET(self) -> None:
            found = self.path.split("?", 1)[0] == "/metrics"
            body = metrics.page().encode() if found else b"The metrics are at /metrics.\n"
            self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
            self.send_header("Content-Type", CONTENT_TYPE if found else "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Scrapes are no news."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise UsageError(
            f"The metrics cannot be served on {host}, port {port} ({error.strerror}).",
            hint="Choose another --metrics-port, or DATACUP_METRICS_HOST.",
        ) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="metrics")
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
