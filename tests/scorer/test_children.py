"""Processes that touch entries hold no secret, answer in messages, and are ended when they overstep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from competition.errors import EngineError, RejectionError, RejectionReason, StaleAttemptError
from scorer import messages
from scorer.children import Bounds, Children, Chore
from scorer.namespaces import NOTHING, Access
from tests.scorer import chores
from tests.scorer.processes import alive, below, gone, server_pid

BOUNDS = Bounds(start=120, step=60, memory_bytes=2**40, file_bytes=2**19)


@pytest.fixture(scope="module")
def children() -> Children:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATACUP_TOKEN", "a-secret-token")
        patch.setenv("NVIDIA_API_KEY", "a-secret-key")
        children = Children()
        children.warm_up()
    return children


def run(
    children: Children, chore: Chore, request: str = "", bounds: Bounds = BOUNDS, access: Access = NOTHING
) -> list[str]:
    heard: list[str] = []

    def listen(message: messages.Message) -> None:
        if isinstance(message, messages.Checking):
            heard.append(message.check)

    children.run(chore, request, bounds, access=access, on_message=listen, guard=lambda: None)
    return heard


def test_neither_the_process_nor_its_server_has_ever_seen_a_secret(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATACUP_TOKEN", "a-secret-token")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
    own = json.loads(run(children, chores.environment)[0])
    server = Path(f"/proc/{server_pid()}/environ").read_bytes().decode()
    assert "PATH" in own
    assert "PATH" in server
    for text in (json.dumps(own), server):
        assert "a-secret" not in text
        assert "DATACUP_TOKEN" not in text
    assert os.environ["DATACUP_TOKEN"] == "a-secret-token", "this process keeps its environment"


def test_torch_works_in_a_process_forked_from_the_preloaded_server(children: Children) -> None:
    assert run(children, chores.work, "sum") == ["sum 27000000.0"]


def test_a_rejection_comes_through_as_it_is(children: Children) -> None:
    with pytest.raises(RejectionError, match="position 4") as caught:
        run(children, chores.reject, "unsorted at position 4")
    assert caught.value.reason is RejectionReason.SUBSET_UNSORTED


def test_a_fault_of_the_platform_keeps_message_and_hint(children: Children) -> None:
    with pytest.raises(EngineError, match="The set is absent") as caught:
        run(children, chores.fail)
    assert caught.value.hint == "Get it."


def test_a_crash_names_the_signal(children: Children) -> None:
    with pytest.raises(EngineError, match="SIGSEGV"):
        run(children, chores.crash)


def test_an_early_end_names_the_status(children: Children) -> None:
    with pytest.raises(EngineError, match="status 3"):
        run(children, chores.leave)


def test_without_progress_a_process_is_ended_with_all_that_it_started(children: Children) -> None:
    pids: list[int] = []

    def listen(message: messages.Message) -> None:
        if isinstance(message, messages.Checking):
            pids.extend(below(server_pid()))

    bounds = Bounds(start=120, step=0.5, memory_bytes=2**40, file_bytes=2**20)
    with pytest.raises(EngineError, match="without progress"):
        children.run(chores.sleep, "100", bounds, on_message=listen, guard=lambda: None)
    assert len(pids) == 3, "one waits, one works, one sleeps"
    assert all(gone(pid) for pid in pids)


def test_too_much_memory_ends_a_process(children: Children) -> None:
    heard: list[str] = []

    def listen(message: messages.Message) -> None:
        if isinstance(message, messages.Checking):
            heard.append(message.check)

    bounds = Bounds(start=120, step=60, memory_bytes=2**30, file_bytes=2**20)
    with pytest.raises(EngineError, match="it used over"):
        children.run(chores.eat, "", bounds, on_message=listen, guard=lambda: None)
    assert heard == ["hungry", "eating"]


def test_too_large_a_file_is_not_written(children: Children, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="status 1"):
        run(children, chores.write_much, str(tmp_path / "much"), access=Access(writable=(tmp_path,)))
    assert (tmp_path / "much").stat().st_size <= BOUNDS.file_bytes


def test_the_guard_ends_a_process_and_its_reason_is_passed_on(children: Children) -> None:
    pids: list[int] = []

    def listen(message: messages.Message) -> None:
        if isinstance(message, messages.Checking):
            pids.extend(below(server_pid()))

    def guard() -> None:
        if pids:
            raise StaleAttemptError("The lease has ended.")

    with pytest.raises(StaleAttemptError):
        children.run(chores.sleep, "100", BOUNDS, on_message=listen, guard=guard)
    assert pids
    assert all(gone(pid) for pid in pids)


def test_half_a_message_keeps_nobody_waiting(children: Children) -> None:
    bounds = Bounds(start=120, step=0.5, memory_bytes=2**40, file_bytes=2**20)
    with pytest.raises(EngineError, match="without progress"):
        run(children, chores.half_a_message, bounds=bounds)


@pytest.fixture
def stopped_server(children: Children) -> Iterator[None]:
    """The server does not answer, as one whose imports do not end."""
    run(children, chores.environment)
    pid = server_pid()
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)


@pytest.mark.usefixtures("stopped_server")
def test_a_server_that_does_not_answer_is_waited_for_as_long_as_allowed(children: Children) -> None:
    bounds = Bounds(start=0.5, step=60, memory_bytes=2**40, file_bytes=2**20)
    with pytest.raises(EngineError, match="was not ready after"):
        run(children, chores.work, bounds=bounds)


@pytest.mark.usefixtures("stopped_server")
def test_the_guard_is_asked_while_the_server_is_waited_for(children: Children) -> None:
    def guard() -> None:
        raise StaleAttemptError("The lease has ended.")

    with pytest.raises(StaleAttemptError):
        children.run(chores.work, "", BOUNDS, on_message=lambda _message: None, guard=guard)


def test_a_server_that_died_is_replaced_by_one_without_secrets_and_its_processes_are_ended(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATACUP_TOKEN", "a-secret-token")
    run(children, chores.environment)
    server = server_pid()
    pids: list[int] = []

    def kill_the_server(message: messages.Message) -> None:
        if isinstance(message, messages.Checking):
            pids.extend(below(server))
            os.kill(server, signal.SIGKILL)

    bounds = Bounds(start=120, step=0.5, memory_bytes=2**40, file_bytes=2**20)
    with pytest.raises(EngineError, match="without progress"):
        children.run(chores.sleep, "100", bounds, on_message=kill_the_server, guard=lambda: None)
    assert len(pids) == 3, "one waits, one works, one sleeps"
    assert all(gone(pid) for pid in pids)
    assert "a-secret" not in run(children, chores.environment)[0]


IMPORTS = """
import time
from scorer.sandbox import ending_with_parent
with ending_with_parent():
    print(flush=True)
    time.sleep(100)
"""
STARTS_WHAT_IMPORTS = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {IMPORTS!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def test_a_process_that_still_imports_ends_with_its_parent() -> None:
    command = [sys.executable, "-c", STARTS_WHAT_IMPORTS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    assert gone(pid)


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"kind": "pickle"}', b"\x80\x04K\x01.", b'{"kind": "task_finished"}'])
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        messages.parse(raw)
