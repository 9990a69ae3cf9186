"""The tasks of a claim on a real Ray cluster of two nodes: in any order, each once, sandboxed, whatever is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from competition.client import LeaderboardClient
from competition.data.digests import file_sha256
from competition.errors import EngineError, RejectionError, RejectionReason, StorageError, UsageError
from competition.evaluation.run import evaluate_suite
from competition.records.evaluation import TaskResult
from competition.records.lifecycle import Processing
from scorer.children import Children
from scorer.engine import task_work
from scorer.evaluation import EvaluateRequest
from scorer.guard import Guard, Stop
from scorer.lease import Lease
from scorer.mirror import Mirror
from scorer.ray_evaluation import RayEngine
from scorer.settings import ScorerSettings
from scorer.task_process import TaskWork
from scorer.work import Mode, Service
from tests.competition.test_client import a_grant
from tests.competition.verification.entries import TASKS, TinyEntry, tiny_competition, tiny_weights, write_evaluation_sets
from tests.ray_cluster import ROOT, task_workers
from tests.scorer.conftest import Board, Enter, Workplace
from tests.scorer.processes import alive, below, gone

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")]


@dataclass
class Heard:
    """A listener that keeps what it hears; ``on_start`` is called with the first task that is handed out."""

    on_start: Callable[[], None] = lambda: None
    story: list[str] = field(default_factory=list)
    results: dict[str, TaskResult] = field(default_factory=dict)

    def started(self, task: str) -> None:
        self.story.append(f"started {task}")
        if len(self.story) == 1:
            self.on_start()

    def finished(self, result: TaskResult) -> None:
        assert result.task not in self.results, "no task has two results"
        self.story.append(f"finished {result.task}")
        self.results[result.task] = result

    def gap(self, task: str, gap: float) -> None:
        raise AssertionError((task, gap))


@dataclass(frozen=True)
class Stock:
    """Folders that both nodes see, with one entry in the mirror."""

    root: Path
    sha256: str

    def settings(self, **changes: Any) -> ScorerSettings:
        return ScorerSettings(mirror=self.root / "mirror", evaluation=self.root / "evaluation", task_gpus=0, **changes)

    def work(self, sha256: str = "", mirror: Path | None = None, **changes: Any) -> TaskWork:
        settings = self.settings(**changes)
        request = EvaluateRequest(
            competition=tiny_competition(),
            track="filtering",
            scale="nano",
            tasks=TASKS,
            judged_sha256=sha256 or self.sha256,
            mirror=mirror or settings.mirror_root,
            evaluation=settings.evaluation_root,
            threads=7,
        )
        return task_work(request, settings)

    def adopt(self, weights: dict[str, np.ndarray]) -> str:
        """Lay a model into the mirror; its digest."""
        entry = TinyEntry(self.root / "entry").build()
        entry.save_weights(weights)
        model = entry.folder / "model.safetensors"
        sha256 = file_sha256(model)
        Mirror(self.root / "mirror").adopt(model, sha256)
        return sha256


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    root = tmp_path_factory.mktemp("shared")
    write_evaluation_sets(root / "evaluation")
    return Stock(root, Stock(root, "").adopt(tiny_weights()))


@pytest.fixture(scope="module")
def engine(ray_address: str, stock: Stock) -> Iterator[RayEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATACUP_TOKEN", "a-secret-token")
        with RayEngine(stock.settings(), ray_address) as opened:
            yield opened


@pytest.fixture
def guard() -> Iterator[tuple[Guard, Stop]]:
    with LeaderboardClient("http://127.0.0.1:9") as client:
        stop = Stop(0.5)
        yield Guard(Lease(client, a_grant(), 20.0), stop), stop


Guarded = tuple[Guard, Stop]


def test_both_nodes_evaluate_and_the_numbers_are_the_official_ones(
    engine: RayEngine, stock: Stock, guard: Guarded
) -> None:
    heard = Heard()
    engine.evaluate(stock.work(), heard, guard[0])
    assert [line.split()[0] for line in heard.story[:2]] == ["started", "started"], "two tasks at a time"
    competition = tiny_competition()
    model = Mirror(stock.root / "mirror").path(stock.sha256)
    official = evaluate_suite(model, competition, competition.recipes[0], stock.root / "evaluation")
    for expected in official.results:
        found = heard.results[expected.task]
        assert (found.value, found.outcomes) == (pytest.approx(expected.value), expected.outcomes)
        assert found.device == "cpu"
        assert found.device_seconds is not None
        assert 0 < found.device_seconds <= found.seconds


def busy_workers(address: str) -> dict[int, list[int]]:
    """Ray's workers that have a sandboxed process at work, with all that runs below them."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = {worker: below(worker) for worker in task_workers(address)}
        # The server, what tracks its resources, and two for each process that works: one waits outside.
        busy = {worker: processes for worker, processes in found.items() if len(processes) >= 4}
        if busy:
            return busy
        time.sleep(0.02)
    raise AssertionError("no node has begun")


def test_a_lost_worker_costs_its_tasks_a_try_and_leaves_nothing_behind(
    engine: RayEngine, stock: Stock, guard: Guarded, ray_address: str
) -> None:
    lost: dict[int, list[int]] = {}

    def lose() -> None:
        lost.update(busy_workers(ray_address))
        for worker in lost:
            os.kill(worker, signal.SIGKILL)

    heard = Heard(lose)
    engine.evaluate(stock.work(), heard, guard[0])
    assert sorted(heard.results) == sorted(TASKS)
    assert lost
    assert all(gone(pid) for processes in lost.values() for pid in processes), "what read the entry ended with its worker"


def test_tasks_that_lose_every_worker_are_given_up(
    engine: RayEngine, stock: Stock, guard: Guarded, ray_address: str
) -> None:
    class Plague:
        """Kills whatever works, as often as the guard is asked."""

        def check(self) -> None:
            for worker in task_workers(ray_address):
                if len(below(worker)) >= 1:
                    os.kill(worker, signal.SIGKILL)

        def check_between_tasks(self) -> None:
            guard[0].check_between_tasks()

    heard = Heard()
    with pytest.raises(EngineError, match=r"Task '.*' could not be evaluated on the Ray cluster"):
        engine.evaluate(stock.work(), heard, Plague())  # type: ignore[arg-type]
    assert heard.results == {}


def test_a_request_to_stop_lets_running_tasks_end_until_its_deadline(
    engine: RayEngine, stock: Stock, guard: Guarded, ray_address: str
) -> None:
    guarded, stop = guard
    stop._grace = 100.0
    heard = Heard(stop.request)
    with pytest.raises(EngineError, match="asked to stop"):
        engine.evaluate(stock.work(), heard, guarded)
    assert [line.split()[0] for line in heard.story] == ["started", "finished"], "no further task is begun"
    stop._grace = 0.0
    at_work: dict[int, list[int]] = {}

    def give_no_time() -> None:
        at_work.update(busy_workers(ray_address))
        stop.request()

    heard = Heard(give_no_time)
    stop._requested, stop._deadline = False, float("inf")
    with pytest.raises(EngineError, match="asked to stop"):
        engine.evaluate(stock.work(), heard, guarded)
    assert heard.results == {}
    assert at_work
    assert all(gone(pid) for processes in at_work.values() for pid in processes), "what ran was cancelled"


def test_what_a_node_lacks_or_meets_is_said_with_its_name(
    engine: RayEngine, stock: Stock, guard: Guarded, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match=f"node .*{tmp_path}.*{stock.sha256[:12]}") as lacking:
        engine.evaluate(stock.work(mirror=tmp_path), Heard(), guard[0])
    assert "storage that all nodes share" in lacking.value.hint
    heard = Heard()
    with pytest.raises(EngineError, match=r"On node .*Task 'tiny-.' was ended: it had its device for more than 0.001 s"):
        engine.evaluate(stock.work(task_seconds=0.001), heard, guard[0])
    assert heard.results == {}
    overflowing = stock.adopt({name: np.full_like(weight, 3e38) for name, weight in tiny_weights().items()})
    with pytest.raises(RejectionError) as rejected:
        engine.evaluate(stock.work(overflowing), Heard(), guard[0])
    assert rejected.value.reason is RejectionReason.MODEL_NOT_FINITE


@pytest.mark.parametrize("insecure", [False, True])
def test_a_node_that_cannot_isolate_refuses_unless_told_otherwise(stock: Stock, tmp_path: Path, insecure: bool) -> None:
    """What a Ray worker does, where the system makes no user namespace."""
    code = f"""
import sys
from pathlib import Path
from competition.errors import EngineError
from scorer.ray_evaluation import Order, evaluate_on_node
from tests.scorer.test_ray_evaluation import Stock

def main():
    work = Stock(Path({str(stock.root)!r}), {stock.sha256!r}).work()
    try:
        print(len(evaluate_on_node(Order(work, {insecure}, 0))))
    except EngineError as error:
        print(error.message)

if __name__ == "__main__":
    main()
"""
    script = tmp_path / "node.py"
    script.write_text(code)
    shell = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", shell, "sh", sys.executable, str(script)],
        capture_output=True, text=True, timeout=200, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if insecure:
        assert done.stdout == "3\n", done.stderr
    else:
        assert done.stdout.startswith("On node "), done.stderr
        assert "refuses to isolate a process" in done.stdout


def test_a_whole_claim_is_scored_by_the_cluster(
    engine: RayEngine, board: Board, workplace: Workplace, enter: Enter
) -> None:
    submission = enter()
    folders = {name.removeprefix("DATACUP_").lower(): value for name, value in workplace.environment.items()}
    settings = ScorerSettings(**{"worker": "tester", "poll_seconds": 0.05, "threads": 1, "task_gpus": 0, **folders})
    events: list[dict[str, Any]] = []
    Service(settings, board.client(), Children(), engine=engine, observe=events.append).run(Mode.DRAIN)
    assert board.participant.submission(submission).processing is Processing.SCORED
    told = [event.detail for event in board.participant.events(submission) if event.kind == "task_result"]
    assert sorted(detail["task"] for detail in told) == sorted(TASKS)
    assert {detail["attempt"] for detail in told} == {1}
    assert sorted(event["stage"] for event in events if event["event"] == "stage" and event["kind"] == "scoring") == [
        *TASKS
    ]


def test_without_ray_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="needs the package 'ray'") as absent:
        RayEngine(ScorerSettings())
    assert "pip install" in absent.value.hint
    assert alive(os.getpid())
