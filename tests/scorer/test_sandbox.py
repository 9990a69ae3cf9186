"""A process that an entry has taken over reaches nothing: real processes try each escape.

Where it tells something, they try it without isolation too, so that a test that cannot fail would show.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from competition.errors import EngineError, StorageError
from scorer import messages, namespaces, sandbox
from scorer.children import Bounds, Children, Chore
from scorer.namespaces import NOTHING, Access
from scorer.watch import free_bytes
from tests.scorer import escapes
from tests.scorer.processes import alive, below, gone, server_pid
from tests.test_architecture import ROOT

BOUNDS = Bounds(start=120, step=60, memory_bytes=2**40, file_bytes=2**30, free_bytes=0)


def _isolation() -> str:
    try:
        sandbox.require_isolation()
    except EngineError as error:
        return str(error)
    return ""


isolated = pytest.mark.skipif(bool(_isolation()), reason=_isolation())
pytestmark = isolated


@pytest.fixture(scope="module")
def children() -> Children:
    children = Children()
    children.warm_up()
    return children


@pytest.fixture(scope="module")
def bare_children(children: Children) -> Children:
    return Children(insecure=True)


def told(
    children: Children, chore: Chore, request: object = "", access: Access = NOTHING, bounds: Bounds = BOUNDS
) -> list[Any]:
    """What the process said."""
    heard: list[Any] = []

    def listen(message: messages.Message) -> None:
        if isinstance(message, messages.Checking):
            heard.append(json.loads(message.check))

    raw = request if isinstance(request, str) else json.dumps(request)
    children.run(chore, raw, bounds, access=access, on_message=listen, guard=lambda: None)
    return heard


@pytest.fixture
def listening() -> Iterator[list[object]]:
    """A TCP port and the name of an abstract socket that somebody listens to."""
    name = f"datacup-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(f"\0{name}")
        local.listen()
        yield [server.getsockname()[1], name]


def test_no_server_of_this_machine_can_be_reached(children: Children, listening: list[object]) -> None:
    [outcomes] = told(children, escapes.connect, listening)
    assert outcomes == ["Network is unreachable", "Connection refused"]


def test_who_may_use_the_network_can_and_still_sees_no_folder(
    children: Children, listening: list[object], tmp_path: Path
) -> None:
    access = Access(network=True)
    assert told(children, escapes.connect, listening, access) == [["done", "done"]]
    [seen] = told(children, escapes.places, [str(tmp_path), str(Path.home() / ".cache")], access)
    assert [listed for _, listed in seen.values()] == [None, None]


def test_certificates_of_the_operator_are_seen_by_who_may_use_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    def seen(access: Access) -> set[Path]:
        return {bind.target for bind in namespaces._plan(access)}

    assert tmp_path in seen(Access(network=True))
    assert tmp_path not in seen(NOTHING)


def test_other_processes_and_their_credentials_are_out_of_sight(
    children: Children, bare_children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = subprocess.Popen(["sleep", "100"], env={"DATACUP_TOKEN": "dcp_a-secret-of-this-test"})
    try:
        request = [os.getpid(), "dcp_a-secret-of-this-test"]
        [[pids, found, kill]] = told(children, escapes.others, request)
        assert (pids, found, kill) == ([1], [], "No such process")
        [[_, found, kill]] = told(bare_children, escapes.others, request)
        assert (found, kill) == ([held.pid], "done"), "what isolation is for"
    finally:
        held.kill()
        held.wait()


def test_inputs_are_read_only_and_what_may_be_written_can_be(children: Children, tmp_path: Path) -> None:
    for name in ("mirror", "evaluation", "mirror/pool-index"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("true")
    access = Access(
        readable=(tmp_path / "mirror", tmp_path / "evaluation", tmp_path / "absent"),
        writable=(tmp_path / "mirror" / "pool-index", tmp_path / "evaluation" / ".decoded"),
    )
    files = [str(tmp_path / name / "file") for name in ("mirror", "evaluation", "mirror/pool-index")]
    [outcomes] = told(children, escapes.write, files, access)
    assert outcomes == [["Read-only file system"] * 4, ["Read-only file system"] * 4, ["done"] * 4]
    assert (tmp_path / "mirror" / "file").read_text() == "true"
    assert (tmp_path / "evaluation" / ".decoded").is_dir()
    assert (tmp_path / "mirror" / "pool-index" / "added").read_text() == "forged"


def test_nothing_can_be_left_outside_scratch(children: Children, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("x")
    folders = ["/", "/usr", "/etc", "/var", "/root", "/home", "/run", "/proc/sys/kernel", "/sys", sys.prefix, str(ROOT)]
    folders += [str(ROOT / "scorer"), str(tmp_path), str(Path.home()), "/tmp", "/dev/shm"]
    [seen] = told(children, escapes.places, folders)
    # A checkout below /tmp is rebuilt there, in scratch: what it lacks of the real one can be added, and is gone.
    scratch = {"/tmp", "/dev/shm"} | ({str(ROOT)} if ROOT.is_relative_to("/tmp") else set())
    assert {folder for folder, (outcome, _) in seen.items() if outcome == "done"} == scratch
    assert seen["/tmp"][1] == [] or all("pytest" not in name for name in seen["/tmp"][1])
    assert seen["/home"][1] is None
    assert seen[str(tmp_path)][1] is None
    assert "shadow" not in seen["/etc"][1]
    assert ".git" not in seen[str(ROOT)][1], "of this repository only the packages are there"
    assert not Path("/tmp/left-behind").exists()


def test_scratch_is_bounded_and_gone_afterwards(children: Children) -> None:
    bounds = Bounds(start=120, step=60, memory_bytes=2**40, file_bytes=2**30, scratch_bytes=2**22)
    [[reason, written]] = told(children, escapes.fill_scratch, bounds=bounds)
    assert reason == "No space left on device"
    assert 2**21 < written <= 2**22
    assert not Path("/tmp/block-1").exists()


def test_who_fills_the_disk_is_ended_before_it_is_full(children: Children, tmp_path: Path) -> None:
    left = free_bytes(tmp_path) - 2**26
    bounds = Bounds(start=120, step=60, memory_bytes=2**40, file_bytes=2**30, free_bytes=left)
    with pytest.raises(StorageError, match="a process that writes there was ended"):
        told(children, escapes.fill_disk, str(tmp_path), Access(writable=(tmp_path,)), bounds)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2**31


def test_the_system_itself_bounds_processes_and_threads(children: Children) -> None:
    bounds = Bounds(start=120, step=60, memory_bytes=2**40, file_bytes=2**30, tasks=320)
    if os.geteuid() == 0 and not namespaces.bounds_pids():
        # Root of the machine is exempt from the bound of users: the scorer counts.
        with pytest.raises(EngineError, match="started over 320"):
            told(children, escapes.start_threads, "2000", bounds=bounds)
        return
    [count] = told(children, escapes.start_threads, "2000", bounds=bounds)
    assert 100 < count <= 320


def test_a_fork_bomb_is_ended_whole(children: Children) -> None:
    bounds = Bounds(start=120, step=2, memory_bytes=2**40, file_bytes=2**30, tasks=320)
    with pytest.raises(EngineError, match=r"started over 320|without progress"):
        told(children, escapes.fork_bomb, bounds=bounds)
    assert all(gone(pid) for pid in below(server_pid()))


def test_the_scorer_counts_where_the_system_does_not(bare_children: Children) -> None:
    bounds = Bounds(start=120, step=30, memory_bytes=2**40, file_bytes=2**30, tasks=50)
    with pytest.raises(EngineError, match="started over 50 others"):
        told(bare_children, escapes.start_programs, "100", bounds=bounds)


def test_no_privilege_is_left_and_none_can_be_had(children: Children, tmp_path: Path) -> None:
    [[own, run, *attempts]] = told(children, escapes.privileges, str(tmp_path), Access(readable=(tmp_path,)))
    assert own == run == ["0" * 16, "0" * 16, "1"]
    assert attempts[:3] == ["Operation not permitted", "Operation not permitted", "Read-only file system"]
    assert attempts[3] in {"No space left on device", "Operation not permitted"}


def test_only_the_pipe_to_the_scorer_is_open_and_nothing_reaches_stdout(
    children: Children, capfd: pytest.CaptureFixture[str]
) -> None:
    [opened] = told(children, escapes.descriptors)
    assert len(opened) == 1
    assert opened[0].startswith("pipe:")
    assert "forged event" not in capfd.readouterr().out


def test_code_that_was_not_preloaded_and_a_fresh_interpreter_still_work(children: Children) -> None:
    [[module, printed, errors]] = told(children, escapes.imports)
    assert (module, printed) == ("wave", "3.0"), errors


def test_when_the_process_that_waits_is_killed_the_one_that_works_ends(children: Children) -> None:
    pids: list[int] = []

    def kill(message: messages.Message) -> None:
        if isinstance(message, messages.Checking):
            pids.extend(below(server_pid()))
            os.kill(pids[0], signal.SIGKILL)

    with pytest.raises(EngineError, match="ended by SIGKILL"):
        children.run(escapes.rest, "", BOUNDS, on_message=kill, guard=lambda: None)
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests are run by an ordinary user already")
def test_an_ordinary_user_needs_no_privilege() -> None:
    python = Path("/usr/bin/python3")
    code = "import sys; sys.version_info >= (3, 11) or sys.exit(7)\nfrom scorer import sandbox; sandbox.try_isolation()"
    switch = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if not python.exists():
        pytest.skip("no interpreter that an ordinary user may run")
    done = subprocess.run(
        [*switch, str(python), "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode == 7:
        pytest.skip("the system's interpreter is too old")
    assert done.returncode == 0, done.stdout + done.stderr


def _without_namespaces(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The scorer where the system makes no user namespace."""
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    scorer = [sys.executable, "-c", "from scorer.cli import main; main()", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DATACUP_")}
    settings = {"DATACUP_ENDPOINT": "http://127.0.0.1:9", "DATACUP_TOKEN": "t", "DATACUP_CACHE": "/tmp/datacup-none"}
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", *scorer],
        capture_output=True, text=True, env={**clean, **settings}, timeout=120, check=False, cwd=ROOT,
    )  # fmt: skip


def test_where_nothing_can_be_isolated_the_scorer_says_why_and_claims_nothing() -> None:
    refused = _without_namespaces("run", "--drain")
    assert refused.returncode == 5, refused.stderr
    assert "The system refuses to isolate a process" in refused.stderr
    assert "sysctl -w user.max_user_namespaces" in refused.stderr
    assert "--insecure" in refused.stderr
    assert "does not answer" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_insecure_is_a_choice_that_is_said_aloud() -> None:
    went_on = _without_namespaces("run", "--drain", "--insecure")
    assert went_on.returncode == 8, went_on.stderr
    assert "scored without isolation" in went_on.stderr
    assert "does not answer" in went_on.stderr


def test_alive_tells_the_living_from_the_dead() -> None:
    assert alive(os.getpid())
    assert not alive(2**30)
