"""Processes that touch entries hold no secret, answer in messages, and are ended when they overstep."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from competition.errors import EngineError, RejectionError, RejectionReason, StaleAttemptError
from scorer import messages
from scorer.children import Bounds, Children, Chore
from tests.scorer import chores

BOUNDS = Bounds(start=120, step=60, memory_bytes=2**40, file_bytes=2**19)


@pytest.fixture(scope="module")
def children() -> Children:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATACUP_TOKEN", "a-secret-token")
        children = Children()
        children.warm_up()
    return children


def run(children: Children, chore: Chore, request: str = "", bounds: Bounds = BOUNDS) -> list[str]:
    heard: list[str] = []

    def listen(message: messages.Message) -> None:
        if isinstance(message, messages.Checking):
            heard.append(message.check)

    children.run(chore, request, bounds, on_message=listen, guard=lambda: None)
    return heard


def _alive(pid: int) -> bool:
    """Whether the process runs (a zombie that waits for its parent does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _gone(pid: int) -> bool:
    for _ in range(200):
        if not _alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_neither_the_process_nor_its_server_has_ever_seen_a_secret(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATACUP_TOKEN", "a-secret-token")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
    own, server = json.loads(run(children, chores.environment)[0])
    assert "PATH" in own
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
            pids.extend(map(int, message.check.split()))

    bounds = Bounds(start=120, step=0.5, memory_bytes=2**40, file_bytes=2**20)
    with pytest.raises(EngineError, match="without progress"):
        children.run(chores.sleep, "100", bounds, on_message=listen, guard=lambda: None)
    assert len(pids) == 2
    assert all(_gone(pid) for pid in pids)


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
        run(children, chores.write_much, str(tmp_path / "much"))
    assert (tmp_path / "much").stat().st_size <= BOUNDS.file_bytes


def test_the_guard_ends_a_process_and_its_reason_is_passed_on(children: Children) -> None:
    pids: list[int] = []

    def listen(message: messages.Message) -> None:
        if isinstance(message, messages.Checking):
            pids.extend(map(int, message.check.split()))

    def guard() -> None:
        if pids:
            raise StaleAttemptError("The lease has ended.")

    with pytest.raises(StaleAttemptError):
        children.run(chores.sleep, "100", BOUNDS, on_message=listen, guard=guard)
    assert all(_gone(pid) for pid in pids)


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"kind": "pickle"}', b"\x80\x04K\x01.", b'{"kind": "task_finished"}'])
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        messages.parse(raw)
