"""The tasks of a claim on a real Ray cluster of two nodes: in any order, each once, sandboxed, whatever is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from competition.client import LeaderboardClient
from competition.errors import EngineError, RejectionError, RejectionReason, StorageError, UsageError
from competition.evaluation.run import evaluate_suite
from competition.records.lifecycle import Processing
from scorer.guard import Guard, Stop
from scorer.lease import Lease
from scorer.mirror import Mirror
from scorer.ray_evaluation import RayEngine
from scorer.settings import ScorerSettings
from tests.competition.test_client import a_grant
from tests.competition.verification.entries import (
    TASKS,
    tiny_competition,
    tiny_weights,
)
from tests.ray_cluster import ROOT, task_workers
from tests.scorer.conftest import Board, Enter, Workplace
from tests.scorer.processes import below, gone
from tests.scorer.stock import Heard, Stock
from tests.scorer.test_service import running_scorer, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    return Stock.made(tmp_path_factory.mktemp("shared"))


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
    assert all(gone(pid) for processes in lost.values() for pid in processes), (
        "what read the entry ended with its worker"
    )


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
        for processes in at_work.values():
            os.kill(max(processes), signal.SIGSTOP)  # it must not end before it is cancelled
        stop.request()

    heard = Heard(give_no_time)
    stop._requested, stop._deadline = False, float("inf")
    with pytest.raises(EngineError, match="asked to stop"):
        engine.evaluate(stock.work(), heard, guarded)
    assert heard.results == {}
    assert at_work
    assert all(gone(pid) for processes in at_work.values() for pid in processes), "what ran was cancelled"


def test_what_a_node_lacks_or_meets_is_said_with_its_name(
    engine: RayEngine, stock: Stock, guard: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match=f"node .*{tmp_path}.*{stock.sha256[:12]}") as lacking:
        engine.evaluate(stock.work(mirror=tmp_path), Heard(), guard[0])
    assert "storage that all nodes share" in lacking.value.hint
    heard = Heard()
    with pytest.raises(
        EngineError, match=r"On node .*Task 'tiny-.' was ended: it had its device for more than 1e-06 s"
    ):
        engine.evaluate(stock.work(task_seconds=1e-6), heard, guard[0])
    assert heard.results == {}
    overflowing = stock.adopt({name: np.full_like(weight, 3e38) for name, weight in tiny_weights().items()})
    with pytest.raises(RejectionError) as rejected:
        engine.evaluate(stock.work(overflowing), Heard(), guard[0])
    assert rejected.value.reason is RejectionReason.MODEL_NOT_FINITE
    # The cluster says that it has a GPU, which is true nowhere: no task falls back to the CPU in silence.
    monkeypatch.setattr(engine, "_settings", stock.settings().model_copy(update={"task_gpus": None}))
    with pytest.raises(EngineError, match=r"On node .*GPU.*not seen by PyTorch"):
        engine.evaluate(stock.work(), Heard(), guard[0])


def test_a_node_that_cannot_isolate_refuses_unless_told_otherwise(stock: Stock, tmp_path: Path) -> None:
    """What a Ray worker does, where the system makes no user namespace."""
    script = tmp_path / "node.py"
    script.write_text(f"""
from pathlib import Path
from competition.errors import EngineError
from scorer.ray_evaluation import Order, evaluate_on_node
from tests.scorer.stock import Stock

def main():
    work = Stock(Path({str(stock.root)!r}), {stock.sha256!r}).work()
    try:
        evaluate_on_node(Order(work, False, 0))
    except EngineError as error:
        print(error.message)
    print(len(evaluate_on_node(Order(work, True, 0))))

if __name__ == "__main__":
    main()
""")
    shell = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", shell, "sh", sys.executable, str(script)],
        capture_output=True, text=True, timeout=200, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    refusal, results = done.stdout.splitlines()
    assert refusal.startswith("On node ")
    assert "refuses to isolate a process" in refusal
    assert results == "3"


@pytest.mark.usefixtures("ray_address")
def test_the_command_has_a_claim_scored_by_a_cluster_that_never_sees_its_token(
    board: Board, workplace: Workplace, enter: Enter
) -> None:
    submission = enter()
    with running_scorer(board, workplace, "--json", "--engine", "ray", "--ray-address", "local") as scorer:
        wait_until(lambda: board.participant.submission(submission).processing is Processing.SCORED)
        others = below(scorer.pid)
        environments = [Path(f"/proc/{pid}/environ") for pid in others]
        seen = [path.read_bytes() for path in environments if path.exists()]
        scorer.send_signal(signal.SIGTERM)
        lines, _ = scorer.communicate(timeout=60)
    assert scorer.returncode == 0
    assert all(gone(pid) for pid in others), "the cluster ends with the command"
    assert len(seen) > 5
    assert not [text for text in seen if board.scorer_token.encode() in text or b"DATACUP_" in text]
    events = [json.loads(line) for line in lines.splitlines()]
    assert sorted(event["stage"] for event in events if event["event"] == "stage" and event["kind"] == "scoring") == [
        *TASKS
    ]
    told = [event.detail for event in board.participant.events(submission) if event.kind == "task_result"]
    assert sorted(detail["task"] for detail in told) == sorted(TASKS)
    assert {detail["attempt"] for detail in told} == {1}


def test_without_ray_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="needs the package 'ray'") as absent:
        RayEngine(ScorerSettings())
    assert "datacup[scorer,ray]" in absent.value.hint
