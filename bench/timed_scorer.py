"""A scorer that says where its time goes: as ``datacup-scorer run --drain``, once for every line that it reads.

    python -c "from bench.timed_scorer import main; main()"

Reads the settings of a scorer. Prints a JSON object for every line: seconds by part. Not to be run as a module: what is
the program of a process is imported by the server of its processes, too, and must start no thread there.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from competition.client import LeaderboardClient
from scorer import logs, messages
from scorer.children import Bounds, Children, Chore
from scorer.namespaces import NOTHING, Access
from scorer.settings import ScorerSettings
from scorer.work import Mode, Service

if TYPE_CHECKING:
    import httpx

REQUESTS, REST, TOTAL = "requests to the leaderboard", "everything else", "total"
FETCH, EVALUATION = "fetch: work", "evaluate: tasks"
_NAMES = {
    "fetch_entry": "fetch",
    "verify_entry": "verify",
    "prepare_sets": "sets",
    "index_overlaps": "test images",
    "evaluate_entry": "evaluate",
}


def main() -> None:
    """Work until standard input ends."""
    settings = ScorerSettings.read()
    logs.configure(settings.log_level)
    parts = Parts()
    client = _Client(parts, settings.require_endpoint(), settings.require_token())
    children = _Children(parts)
    children.warm_up()
    for _ in sys.stdin:
        parts.begin()
        Service(settings, client, children).run(Mode.DRAIN)
        print(json.dumps(parts.end()), flush=True)


class Parts:
    """Seconds by part since the beginning."""

    def begin(self) -> None:
        """Count from here."""
        self._seconds: dict[str, float] = defaultdict(float)
        self._start = time.perf_counter()

    def add(self, part: str, seconds: float) -> None:
        """Something took so long."""
        self._seconds[part] += seconds

    @contextmanager
    def counted_elsewhere(self) -> Iterator[None]:
        """What is added inside the block is part of something else."""
        before = dict(self._seconds)
        yield
        self._seconds = defaultdict(float, before)

    def end(self) -> dict[str, float]:
        """All parts, with what is left."""
        total = time.perf_counter() - self._start
        return {**self._seconds, REST: total - sum(self._seconds.values()), TOTAL: total}


class _Client(LeaderboardClient):
    """Times every request but the heartbeats, which keep nobody waiting."""

    def __init__(self, parts: Parts, endpoint: str, token: str) -> None:
        super().__init__(endpoint, token)
        self._parts = parts

    def _send(self, method: str, path: str, *arguments: Any, **options: Any) -> httpx.Response:
        start = time.perf_counter()
        answer = super()._send(method, path, *arguments, **options)
        if not path.endswith("/heartbeat"):
            self._parts.add(REQUESTS, time.perf_counter() - start)
        return answer


class _Children(Children):
    """Times every process: until it is ready, and at work, with what this side does meanwhile about its messages."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self._parts = parts

    def run(
        self,
        chore: Chore,
        request: str,
        bounds: Bounds,
        *,
        access: Access = NOTHING,
        on_message: Callable[[messages.Message], None],
        guard: Callable[[], None],
    ) -> None:
        name, start = _NAMES[chore.__name__], time.perf_counter()
        ready, tasks = start, 0.0

        def listen(message: messages.Message) -> None:
            nonlocal ready, tasks
            if isinstance(message, messages.Ready):
                ready = time.perf_counter()
            if isinstance(message, messages.TaskFinished):
                tasks += message.result.seconds
            on_message(message)

        with self._parts.counted_elsewhere():
            super().run(chore, request, bounds, access=access, on_message=listen, guard=guard)
        self._parts.add(f"{name}: start", ready - start)
        self._parts.add(f"{name}: work", time.perf_counter() - ready - tasks)
        if name == "evaluate":
            self._parts.add(EVALUATION, tasks)
