"""One process for the tasks of an entry: a device of its own, a limit on its time there, and nothing out of turn."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from competition.client import LeaderboardClient
from competition.errors import EngineError, StaleAttemptError
from competition.records.evaluation import TaskResult
from scorer.children import Children
from scorer.devices import Devices
from scorer.engine import LocalEngine
from scorer.guard import Guard, Stop
from scorer.lease import Lease
from scorer.messages import Checking, Message, Ready, TaskFinished, TaskStarted
from scorer.open_tasks import OpenTasks
from scorer.task_process import _Talk
from tests.competition.test_client import a_grant
from tests.competition.verification.entries import TASKS
from tests.ray_cluster import ROOT
from tests.scorer.stock import Heard, Stock

A, B, _ = TASKS


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    return Stock.made(tmp_path_factory.mktemp("stock"))


@pytest.fixture
def guard() -> Iterator[Guard]:
    with LeaderboardClient("http://127.0.0.1:9") as client:
        yield Guard(Lease(client, a_grant(), 20.0), Stop(1.0))


def a_result(task: str, seconds: float = 1.0) -> TaskResult:
    return TaskResult(
        task=task, metric="acc1", value=0.5, interval=None, metrics={"acc1": 0.5}, samples=12, seconds=seconds
    )


def test_time_on_the_device_is_noted_and_limited_and_a_device_that_is_not_seen_is_no_cpu(
    stock: Stock, guard: Guard, tmp_path: Path
) -> None:
    engine = LocalEngine(Children(), stock.settings())
    heard = Heard()
    engine.evaluate(stock.work(), heard, guard)
    assert list(heard.results) == list(TASKS)
    for result in heard.results.values():
        assert result.device == "cpu"
        assert result.device_seconds is not None
        assert 0 < result.device_seconds <= result.seconds
    heard = Heard()
    with pytest.raises(EngineError, match=f"Task {A!r} was ended: it had its device for more than 1e-06 s") as late:
        engine.evaluate(stock.work(task_seconds=1e-6), heard, guard)
    assert "DATACUP_TASK_SECONDS" in late.value.hint
    assert heard.results == {}
    engine._devices = Devices(lambda: ("a GPU that PyTorch does not see",), tmp_path)
    with pytest.raises(EngineError, match="not seen by PyTorch"):
        engine.evaluate(stock.work(), Heard(), guard)


def test_a_process_is_heard_only_in_turn_and_believed_about_time_up_to_what_has_passed(stock: Stock) -> None:
    start, finish = TaskStarted(task=A), TaskFinished(result=a_result(A), reported_gap=0.1)
    other = TaskFinished(result=a_result(B), reported_gap=None)
    wrong: list[list[Message]] = [
        [finish],
        [start, start],
        [start, other],
        [start, finish, finish],
        [start, finish, start],
        [TaskStarted(task="another")],
        [Checking(check="x")],
    ]
    for talk in wrong:
        listener = _Talk(stock.work(), Heard(), lambda: None)
        for message in (Ready(), *talk[:-1]):
            listener.hear(message)
        with pytest.raises(EngineError, match="out of turn"):
            listener.hear(talk[-1])
    heard = Heard()
    listener = _Talk(stock.work(), heard, lambda: None)
    for message in (start, TaskFinished(result=a_result(A, seconds=1e6), reported_gap=0.1)):
        listener.hear(message)
    assert heard.gaps == [0.1]
    spent = heard.results[A].device_seconds
    assert spent is not None
    assert spent < 1000, "the process cannot say that it took longer than it did"
    assert list(listener.left) == list(TASKS[1:])


def test_results_are_handed_in_in_any_order_but_of_open_tasks_alone() -> None:
    said: list[str] = []

    class Board:
        def report_stage(self, _grant: object, message: object) -> None:
            said.append(f"stage {message.stage}")  # type: ignore[attr-defined]

        def report_result(self, _grant: object, message: object) -> None:
            said.append(f"result {message.result.task}")  # type: ignore[attr-defined]

    tasks = OpenTasks(Board(), a_grant(), lambda _event, **_detail: None, TASKS)  # type: ignore[arg-type]
    for task in (B, A, B):
        tasks.started(task)
    tasks.finished(a_result(B), None)
    tasks.started(B)
    for task in (B, "tiny-d"):
        with pytest.raises(EngineError, match="not open"):
            tasks.finished(a_result(task), None)
    assert said == [f"stage {B}", f"stage {A}", f"result {B}"]
    assert tasks.left == (A, TASKS[2])


def test_a_gpu_is_leased_to_one_at_a_time_and_taken_back_from_the_dead(tmp_path: Path) -> None:
    asked: list[int] = []

    def find() -> tuple[str, ...]:
        asked.append(1)
        return ("first", "second")

    devices, others = Devices(find, tmp_path), Devices(find, tmp_path)
    with Devices(tuple, tmp_path / "never").lease(lambda: None) as none:
        assert none is None
    assert not (tmp_path / "never").exists()

    def nothing_free() -> None:
        raise StaleAttemptError("The lease has ended.")

    with devices.lease(nothing_free) as one, others.lease(nothing_free) as two:
        assert (one, two) == (0, 1)
        with pytest.raises(StaleAttemptError), devices.lease(nothing_free):
            pass
    assert asked == [1, 1], "each scorer asks once"
    # Another process of the machine has both, and is killed while we wait.
    code = f"""
from pathlib import Path
from scorer.devices import Devices
devices = Devices(lambda: ("first", "second"), Path({str(tmp_path)!r}))
with devices.lease(lambda: None), devices.lease(lambda: None):
    print("leased", flush=True)
    input()
"""
    waiting = threading.Event()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "leased\n"
        threading.Thread(target=lambda: (waiting.wait(60), os.kill(holder.pid, signal.SIGKILL))).start()
        with contextlib.ExitStack() as stack:
            assert stack.enter_context(devices.lease(waiting.set)) == 0
            assert waiting.is_set(), "it was waited for"
