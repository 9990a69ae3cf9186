"""The engines: same results for any number of workers; they resume, retry, and never lose a task or hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from competition.data.engine import Engine, LocalEngine, Needs
from competition.data.journal import Journal
from competition.data.ray_engine import RayEngine
from competition.errors import DataFormatError, EngineError, RejectionError, RejectionReason, StorageError, UsageError
from competition.progress import Progress
from tests.competition.data import engine_tasks

NUMBERS = {f"shard {i}": i for i in range(5)}


ON_RAY = pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])


def _engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param != "ray":
        yield LocalEngine(request.param)
        return
    with RayEngine(request.getfixturevalue("ray_address")) as on_ray:
        yield on_ray


@pytest.fixture(params=[1, 2, ON_RAY])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    yield from _engine(request)


@pytest.fixture(params=[2, ON_RAY])
def processes(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Engines whose tasks run in processes of their own."""
    yield from _engine(request)


def test_results_come_in_the_order_of_the_tasks_with_progress(engine: Engine) -> None:
    seen: list[Progress] = []
    results = engine.map(engine_tasks.double, NUMBERS, stage="doubling", progress=seen.append)
    assert list(results.items()) == [(name, 2 * value) for name, value in NUMBERS.items()]
    assert [(p.stage, p.done, p.total) for p in seen] == [("doubling", done, 5) for done in range(6)]
    assert {p.task for p in seen[1:]} == set(NUMBERS)


def test_no_tasks_is_fine(engine: Engine) -> None:
    assert engine.map(engine_tasks.double, {}, stage="nothing") == {}


def test_a_killed_worker_is_retried(processes: Engine, tmp_path: Path) -> None:
    tasks = {name: name for name in "abcd"}
    results = processes.map(partial(engine_tasks.die_once, tmp_path), tasks, stage="dying")
    assert results == tasks


def test_a_worker_that_always_dies_ends_in_an_error_that_names_the_task(processes: Engine) -> None:
    with pytest.raises(EngineError, match=r"1 of 5 tasks failed while dying: shard 2; .*(killed by signal 9|died)"):
        processes.map(engine_tasks.die_always, NUMBERS, stage="dying")


def test_a_flaky_task_is_retried_and_a_failing_one_is_named(engine: Engine, tmp_path: Path) -> None:
    tasks = {name: name for name in "ab"}
    assert engine.map(partial(engine_tasks.fail_once, tmp_path), tasks, stage="trying") == tasks
    with pytest.raises(EngineError, match=r"2 of 5 tasks failed while trying: shard 1, shard 3; .*odd 1"):
        engine.map(engine_tasks.fail_on_odd, NUMBERS, stage="trying")


def test_a_users_error_keeps_type_message_and_hint_and_names_the_others(engine: Engine) -> None:
    with pytest.raises(DataFormatError) as caught:
        engine.map(engine_tasks.user_error_on_odd, NUMBERS, stage="reading")
    assert caught.value.message == "Shard 1 is damaged."
    assert caught.value.hint == "Get it again. 1 more failed: shard 3."


def test_errors_with_other_constructors_travel_too(processes: Engine) -> None:
    with pytest.raises(RejectionError) as caught:
        processes.map(engine_tasks.reject, {"a": 1, "b": 2}, stage="checking")
    assert caught.value.reason is RejectionReason.SUBSET_UNSORTED
    assert str(caught.value).startswith("Entry 1 is unsorted. Sort the uids")


def test_a_full_disk_stops_the_run(engine: Engine, tmp_path: Path) -> None:
    tasks = {f"t{i:02d}": f"t{i:02d}" for i in range(20)}
    with pytest.raises(StorageError, match="no space"):
        engine.map(partial(engine_tasks.disk_full_first, tmp_path), tasks, stage="writing")
    assert len(list(tmp_path.iterdir())) < 10


def test_a_result_that_cannot_travel_is_an_error_and_not_a_hang(processes: Engine) -> None:
    with pytest.raises(EngineError, match="2 of 2 tasks failed while making"):
        processes.map(engine_tasks.unpicklable, {"a": 1, "b": 2}, stage="making")


def test_the_journal_keeps_what_succeeded_beside_a_failure(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with pytest.raises(DataFormatError):
        engine.map(engine_tasks.user_error_on_odd, NUMBERS, stage="reading", journal=Journal(path, "v1"))
    assert Journal(path, "v1").completed == {"shard 0": 0, "shard 2": 2, "shard 4": 4}
    seen: list[Progress] = []
    results = engine.map(
        engine_tasks.double, NUMBERS, stage="reading", journal=Journal(path, "v1"), progress=seen.append
    )
    assert results == {"shard 0": 0, "shard 1": 2, "shard 2": 2, "shard 3": 6, "shard 4": 4}
    assert (seen[0].done, seen[0].resumed) == (3, 3)


def test_a_journal_of_other_conditions_or_with_a_torn_line_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal(path, "v1").record("a", [1])
    assert Journal(path, "v2").completed == {}
    journal = Journal(path, "v2")
    journal.record("a", [1])
    journal.record("b", {"x": 2})
    path.write_bytes(path.read_bytes()[:-3])
    reopened = Journal(path, "v2")
    assert reopened.completed == {"a": [1]}
    reopened.record("c", 3)
    assert Journal(path, "v2").completed == {"a": [1], "c": 3}


RUN = """
from functools import partial; from pathlib import Path; import sys
from competition.data.engine import LocalEngine
from competition.data.journal import Journal
from tests.competition.data import engine_tasks
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    tasks = {f"t{i}": f"t{i}" for i in range(6)}
    journal = Journal(folder / "journal", "v1")
    LocalEngine(2).map(partial(engine_tasks.sleep_on_first, folder / "marks"), tasks, stage="x", journal=journal)
"""


def test_after_kill_9_of_the_whole_run_only_the_unfinished_task_runs_again(tmp_path: Path) -> None:
    script, marks = tmp_path / "run.py", tmp_path / "marks"
    script.write_text(RUN)
    marks.mkdir()
    root = Path(__file__).resolve().parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        journal = tmp_path / "journal"
        while not journal.exists() or len(journal.read_bytes().splitlines()) < 6:
            assert time.monotonic() < deadline, "the run did not get to its last task"
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    tasks = {f"t{i}": f"t{i}" for i in range(6)}
    results = LocalEngine().map(
        partial(engine_tasks.leave_mark, marks), tasks, stage="x", journal=Journal(tmp_path / "journal", "v1")
    )
    assert results == tasks
    runs = {name: len(list(marks.glob(f"{name}.*"))) for name in tasks}
    assert runs == {"t0": 1, "t1": 1, "t2": 1, "t3": 2, "t4": 1, "t5": 1}


def test_needs_and_workers_are_checked() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        LocalEngine(0)
    with pytest.raises(EngineError, match="needs 1 GPU"):
        LocalEngine(2).map(engine_tasks.double, NUMBERS, stage="x", needs=Needs(gpus=1))
    assert LocalEngine(2, gpus=1).map(engine_tasks.double, NUMBERS, stage="x", needs=Needs(gpus=1))["shard 3"] == 6


def test_tasks_that_threads_serve_run_in_this_process_with_the_same_guarantees(tmp_path: Path) -> None:
    engine, threads = LocalEngine(2), Needs(threads=True)
    assert set(engine.map(engine_tasks.process_id, NUMBERS, stage="asking", needs=threads).values()) == {os.getpid()}
    tasks = {name: name for name in "ab"}
    assert engine.map(partial(engine_tasks.fail_once, tmp_path), tasks, stage="trying", needs=threads) == tasks
    with pytest.raises(EngineError, match=r"2 of 5 tasks failed while trying: shard 1, shard 3; .*odd 1"):
        engine.map(engine_tasks.fail_on_odd, NUMBERS, stage="trying", needs=threads)
    with pytest.raises(DataFormatError, match="Shard 1 is damaged"):
        engine.map(engine_tasks.user_error_on_odd, NUMBERS, stage="checking", needs=threads)
