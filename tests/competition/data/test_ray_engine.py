"""What a cluster adds: reaching it or saying why not, the same files on every node, and no trace of a stopped run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from competition.data import ray_task
from competition.data.engine import Engine, LocalEngine, Needs
from competition.data.journal import Journal
from competition.data.outcome import HOST, Failure, outcome
from competition.data.ray_engine import RayEngine, _first_line
from competition.data.ray_task import Origin, existing_paths, run_on_node
from competition.errors import EngineError, StorageError, UsageError
from tests.competition.data import engine_tasks
from tests.ray_cluster import task_workers

ROOT = Path(__file__).resolve().parents[3]
NUMBERS = {f"shard {i}": i for i in range(5)}


@pytest.fixture
def engine(ray_address: str) -> Iterator[RayEngine]:
    with RayEngine(ray_address) as opened:
        yield opened


# --- reaching a cluster ---------------------------------------------------------------------------------------------


@contextmanager
def listener(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something else than Ray on a port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}"
    thread.join(timeout=10)
    server.close()


def refused(address: str | None) -> str:
    pytest.importorskip("ray")
    start = time.monotonic()
    with pytest.raises(EngineError, match="No Ray cluster can be reached at") as caught, RayEngine(address) as engine:
        engine.map(engine_tasks.double, NUMBERS, stage="doubling")
    assert time.monotonic() - start < 30, "Ray itself would have tried for minutes"
    return caught.value.message


def test_a_closed_port_is_one_sentence_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"127.0.0.1:{server.getsockname()[1]}"
    assert refused(closed) == f"No Ray cluster can be reached at {closed}: Connection refused."
    monkeypatch.setenv("RAY_ADDRESS", closed)
    assert refused(None) == refused("auto") == refused(closed)


def test_a_port_that_is_not_rays_is_one_sentence_within_seconds() -> None:
    with listener(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as address:
        assert refused(address).endswith("what answers there is not Ray.")
    with listener(lambda connection: connection.shutdown(socket.SHUT_WR)) as address:
        assert refused(address).endswith("the connection was closed.")


@pytest.mark.parametrize("address", ["ray://head:10001", "http://127.0.0.1:8265", "head", "head:", ":6379", "head:x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match=r"is not HOST:PORT, auto or local"), RayEngine(address) as engine:
        engine.map(engine_tasks.double, NUMBERS, stage="doubling")


def test_without_ray_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="needs the package 'ray'") as caught:
        RayEngine().map(engine_tasks.double, NUMBERS, stage="doubling")
    assert "pip install 'datacup[kit,ray]'" in caught.value.hint


def test_what_is_finished_needs_no_cluster(tmp_path: Path) -> None:
    LocalEngine().map(engine_tasks.double, NUMBERS, stage="doubling", journal=Journal(tmp_path / "j", "v1"))
    again = RayEngine("127.0.0.1:1").map(
        engine_tasks.double, NUMBERS, stage="doubling", journal=Journal(tmp_path / "j", "v1")
    )
    assert again == {f"shard {i}": 2 * i for i in range(5)}


# --- nodes ----------------------------------------------------------------------------------------------------------


def test_a_node_that_does_not_see_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_task, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.chdir(tmp_path)
    function = partial(engine_tasks.leave_mark, tmp_path)
    for origin, paths, absent in (
        (Origin.here((tmp_path / "journal",)), (), tmp_path / "journal"),
        (Origin.here(()), (Path("pool/0.parquet"),), tmp_path / "pool/0.parquet"),
        (Origin(tmp_path / "elsewhere", Origin.here(()).version, ()), (), tmp_path / "elsewhere"),
    ):
        found = outcome(*run_on_node(function, "a", paths, origin))
        assert isinstance(found, Failure)
        assert isinstance(found.error, StorageError)
        assert found.error.message == f"Node {HOST} does not see {absent}."
        assert "all nodes share" in found.error.hint
    assert not list(tmp_path.iterdir())


def test_a_node_with_another_version_is_named(tmp_path: Path) -> None:
    found = outcome(*run_on_node(engine_tasks.double, 1, (), Origin(tmp_path, "0.0.0", ())))
    assert isinstance(found, Failure)
    assert str(found.error).startswith(f"Node {HOST} has DataCup ")


def test_the_paths_of_a_task_are_found_wherever_they_are(tmp_path: Path) -> None:
    present, absent = tmp_path, tmp_path / "absent"
    bound = partial(engine_tasks.mark, Origin(present, "", (absent, present)), more={"a": [present, 1]})
    assert list(existing_paths(bound)) == [present] * 3
    assert list(existing_paths(("a", 1, absent))) == []


@pytest.mark.ray
@pytest.mark.slow
def test_tasks_run_in_the_folder_of_the_command(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(engine.map(engine_tasks.host_folder, NUMBERS, stage="asking").values()) == {str(tmp_path)}


@pytest.mark.ray
@pytest.mark.slow
def test_a_task_that_no_node_can_run_is_refused_at_once(engine: RayEngine) -> None:
    for needs, missing in ((Needs(gpus=2), "1 processor core(s) and 2 GPU(s)"), (Needs(cpus=64), "64 processor core")):
        with pytest.raises(EngineError) as caught:
            engine.map(engine_tasks.double, NUMBERS, stage="doubling", needs=needs)
        assert caught.value.message.startswith(f"Each task of doubling needs {missing}")


def test_what_ray_says_on_many_lines_is_one() -> None:
    assert _first_line(ValueError("The owner has exited.\n\nSee the logs.")) == "The owner has exited"
    assert _first_line(ValueError()) == "ValueError"


@pytest.mark.ray
@pytest.mark.slow
def test_gpus_are_those_of_the_cluster(engine: RayEngine) -> None:
    assert engine.gpu_count() == 1
    assert list(engine.map(engine_tasks.double, NUMBERS, stage="doubling", needs=Needs(gpus=1)).values()) == [
        2 * number for number in NUMBERS.values()
    ]
    assert LocalEngine().gpu_count() == 0
    assert LocalEngine(gpus=2).gpu_count() == 2


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, None])
def test_no_more_tasks_run_at_a_time_than_asked_for_or_than_fit(ray_address: str, workers: int | None) -> None:
    with RayEngine(ray_address, workers) as engine:
        spans = sorted(engine.map(engine_tasks.stay, NUMBERS, stage="staying").values())
    overlaps = sum(end > start for (_, end), (start, _) in pairwise(spans))
    assert overlaps == 0 if workers else overlaps > 0
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[2:], strict=False))


@pytest.mark.parametrize("kind", ["local", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])])
def test_the_log_has_a_line_for_every_attempt(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    marks, log = tmp_path / "marks", tmp_path / "tasks.jsonl"
    marks.mkdir()
    engine: Engine = LocalEngine(log=log)
    if kind == "ray":
        engine = RayEngine(request.getfixturevalue("ray_address"), log=log)
    engine.map(partial(engine_tasks.fail_once, marks), {"a": "a", "b": "b"}, stage="trying")
    if isinstance(engine, RayEngine):
        engine.close()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(line["stage"], line["host"]) for line in lines} == {("trying", HOST)}
    assert sorted((line["task"], "seconds" in line) for line in lines) == sorted(
        (name, done) for name in "ab" for done in (False, True)
    )
    assert all("flaky" in line["error"] for line in lines if "seconds" not in line)


# --- a run that is stopped ------------------------------------------------------------------------------------------

RUN = """
from functools import partial; from pathlib import Path; import sys
from competition.data.journal import Journal
from competition.data.ray_engine import RayEngine
from tests.competition.data import engine_tasks
folder, address, function = Path(sys.argv[1]), sys.argv[2], getattr(engine_tasks, sys.argv[3])
tasks = {f"t{i}": f"t{i}" for i in range(6)}
journal = Journal(folder / "journal", "v1")
with RayEngine(address) as engine:
    engine.map(partial(function, folder / "marks"), tasks, stage="x", journal=journal)
"""


@contextmanager
def driver(folder: Path, address: str, function: str) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "marks").mkdir()
    command = [sys.executable, "-c", RUN, str(folder), address, function]
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.ray
@pytest.mark.slow
def test_after_kill_9_of_the_driver_only_the_unfinished_task_runs_again(ray_address: str, tmp_path: Path) -> None:
    journal, marks = tmp_path / "journal", tmp_path / "marks"
    with driver(tmp_path, ray_address, "sleep_on_first"):
        wait_for(lambda: journal.exists() and len(journal.read_bytes().splitlines()) == 6, "it did not get to the end")
    tasks = {f"t{i}": f"t{i}" for i in range(6)}
    with RayEngine(ray_address) as engine:
        results = engine.map(partial(engine_tasks.leave_mark, marks), tasks, stage="x", journal=Journal(journal, "v1"))
    assert results == tasks
    runs = {name: len(list(marks.glob(f"{name}.*"))) for name in tasks}
    assert runs == {"t0": 1, "t1": 1, "t2": 1, "t3": 2, "t4": 1, "t5": 1}


@pytest.mark.ray
@pytest.mark.slow
def test_ctrl_c_ends_the_tasks_and_the_terminal_stays_clean(ray_address: str, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    with driver(tmp_path, ray_address, "sleep_and_tell") as process:
        wait_for(lambda: sum(bool(path.read_text()) for path in marks.glob("*")) == 2, "two tasks did not start")
        assert {int(path.read_text()) for path in marks.glob("*")} <= task_workers(ray_address)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert output == b""
    assert errors.splitlines()[-1] == b"KeyboardInterrupt"
    assert b"(raylet)" not in errors
    sleepers = [int(path.read_text()) for path in marks.glob("*")]
    wait_for(lambda: not set(sleepers) & task_workers(ray_address), "a task went on")
