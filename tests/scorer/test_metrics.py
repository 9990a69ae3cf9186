"""A scorer's metrics count what its events say, and are served to whoever may reach the port."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from competition.errors import UsageError
from scorer.children import Children
from scorer.metrics import Metrics, served
from scorer.settings import ScorerSettings
from scorer.work import Mode, Service
from tests.competition.verification.entries import TASKS, TinyEntry
from tests.scorer.conftest import Board, Enter, Workplace
from tests.scorer.test_cli import scorer

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def samples(page: str) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def event(name: str, job: int = 1, kind: str = "scoring", **detail: Any) -> dict[str, Any]:
    return {"event": name, "submission": "s", "job": job, "kind": kind, "attempt": 1, **detail}


def test_two_entries_one_of_them_damaged_are_counted_by_a_real_service(
    board: Board, workplace: Workplace, enter: Enter
) -> None:
    def forge(entry: TinyEntry) -> None:
        (entry.folder / "README.md").write_text("# Another\n")

    enter(0)
    enter(1, damage=forge)
    metrics = Metrics()
    folders = {name.removeprefix("DATACUP_").lower(): value for name, value in workplace.environment.items()}
    settings = ScorerSettings(**{"poll_seconds": 0.05, "threads": 1, **folders})
    Service(settings, board.client(), Children(), observe=metrics).run(Mode.DRAIN)
    with served(metrics, "127.0.0.1", 0) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 404
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(answer.text)
    assert found['datacup_scorer_claims_total{kind="intake"}'] == 2
    assert found['datacup_scorer_jobs_total{kind="intake",outcome="verified"}'] == 1
    assert found['datacup_scorer_jobs_total{kind="intake",outcome="invalid"}'] == 1
    assert found['datacup_scorer_jobs_total{kind="scoring",outcome="scored"}'] == 1
    assert found['datacup_scorer_rejections_total{reason="size_mismatch"}'] == 1
    assert [found[f'datacup_scorer_tasks_total{{task="{task}"}}'] for task in TASKS] == [1, 1, 1]
    assert found["datacup_scorer_mirrored_bytes_total"] > 0
    assert found['datacup_scorer_running_jobs{kind="scoring"}'] == 0


def test_an_end_that_is_told_twice_counts_once() -> None:
    metrics = Metrics()
    for name in ("claimed", "failed", "abandoned"):
        metrics(event(name, message="m"))
    found = samples(metrics.page())
    assert found['datacup_scorer_jobs_total{kind="scoring",outcome="failed"}'] == 1
    assert 'datacup_scorer_jobs_total{kind="scoring",outcome="abandoned"}' not in found
    assert found['datacup_scorer_running_jobs{kind="scoring"}'] == 0


def test_nothing_is_lost_between_threads() -> None:
    metrics = Metrics()

    def work(first: int) -> None:
        for number in range(500):
            metrics(event("claimed", job=first + number))
            metrics(event("scored", job=first + number))

    threads = [threading.Thread(target=work, args=(1000 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert samples(metrics.page())['datacup_scorer_jobs_total{kind="scoring",outcome="scored"}'] == 2000


def test_a_port_that_is_taken_is_said_in_one_sentence() -> None:
    with (
        served(Metrics(), "127.0.0.1", 0) as port,
        pytest.raises(UsageError, match=f"port {port}"),
        served(Metrics(), "127.0.0.1", port),
    ):
        pass


def test_the_command_names_the_address(board: Board, workplace: Workplace) -> None:
    environment = {**workplace.environment, "DATACUP_ENDPOINT": board.url, "DATACUP_TOKEN": board.scorer_token}
    ended = scorer("run", "--drain", "--insecure", "--metrics-port", "0", **environment)
    assert ended.returncode == 0, ended.stderr
    assert "Metrics: http://127.0.0.1:" in ended.stderr
