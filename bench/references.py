"""The standings page with 500 reference rows of 40 tasks against the page without: ``python -m bench references``.

The page of the application itself, without a network, on SQLite: the median of many requests, the two pages in turn,
and the first request of a process apart, which reads and draws the rows.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
from fastapi.testclient import TestClient

from competition.records.references import ReferenceRow, ReferenceSource, ReferenceUpload, ReferenceValue
from competition.rules import find_competition, find_suite
from leaderboard import migration
from leaderboard.accounts.viewer import Act
from leaderboard.app import create_app
from leaderboard.competitions import service as competitions
from leaderboard.references import service
from leaderboard.settings import Settings

_ROWS = 500
_REQUESTS = 20


def main() -> None:
    """Print the figures."""
    suite = find_suite("datacomp-40")
    rules = find_competition("datacomp").model_copy(update={"suite": suite})
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data_dir=Path(folder), reaper_seconds=0))
        migration.upgrade(app.state.database)
        act = Act("bench", datetime.now(UTC))
        with app.state.database.writing() as session:
            competitions.publish(session, rules, act.at)
        client = TestClient(app)
        shown, hidden = "/competitions/datacomp", "/competitions/datacomp?references=hidden"
        _seconds(client, shown)  # compiles the templates
        began = time.perf_counter()
        with app.state.database.writing() as session:
            service.add(session, _upload(), act)
        imported = time.perf_counter() - began
        first = _seconds(client, shown)
        pairs = [(_seconds(client, hidden), _seconds(client, shown)) for _ in range(_REQUESTS)]
        size = len(client.get(shown).content)
        app.state.database.close()
    without, with_rows = (median(times) for times in zip(*pairs, strict=True))
    print(
        f"{_ROWS} reference rows of {len(suite.tasks)} tasks, page of {size / 1e6:.2f} MB, stored in {imported:.2f} s\n"
    )
    print("| page | ms | ratio |")
    print("| --- | ---: | ---: |")
    for name, seconds in (("without", without), ("with", with_rows), ("with, first request", first)):
        print(f"| {name} | {1000 * seconds:.1f} | {seconds / without:.1f} |")


def _seconds(client: TestClient, path: str) -> float:
    began = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - began


def _upload() -> ReferenceUpload:
    suite = find_suite("datacomp-40")
    source = ReferenceSource(
        title="made", url="https://example.org", section="made", retrieved=datetime.now(UTC).date(), licence="none"
    )
    draw = np.random.default_rng(0)
    rows = [
        ReferenceRow(
            name=f"model {number}",
            scale="small",
            tasks={task.id: ReferenceValue(value=round(float(draw.random()), 4)) for task in suite.tasks},
        )
        for number in range(_ROWS)
    ]
    return ReferenceUpload(
        name="made", competition="datacomp", suite=suite.reference, source=source, file_name="made.csv",
        file_sha256="0" * 64, mapping={}, metrics={task.id: task.metric for task in suite.tasks}, rows=tuple(rows),
    )  # fmt: skip
