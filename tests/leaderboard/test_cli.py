"""The operator's command line, as a user meets it: processes, exit codes, one sentence for what went wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DATACUP_")}
    return kept | {"DATACUP_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    def execute(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "leaderboard.cli", *words]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment | variables, cwd=tmp_path, timeout=60, check=False
        )

    return execute


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_tokens_are_made_once_listed_without_secrets_and_revoked(run: Run) -> None:
    assert run("migrate").returncode == 0
    made = run("token", "create", "--account", "alice", "--scope", "submit", "--scope", "score", "--json")
    token = json.loads(made.stdout)["token"]
    plain = run("token", "create", "--account", "bob", "--scope", "admin", "--expires-days", "1")
    assert plain.stdout.startswith("dcp_")
    assert len(plain.stdout.split()) == 1, "the token alone on stdout"
    assert run("token", "revoke", "1").returncode == 0
    listed = run("token", "list", "--json").stdout
    assert token not in listed
    assert [(row["account"], row["state"]) for row in json.loads(listed)] == [("alice", "revoked"), ("bob", "live")]
    hub = run("token", "create", "--account", "alice", "--hub", "--scope", "write")
    assert hub.stdout.startswith("hub_")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("serve",), "no database"),
        (("token", "list"), "no database"),
        (("token", "create", "--account", "a", "--scope", "root"), "'root' is not a scope"),
        (("token", "create", "--account", "a", "--scope", "submit", "--hub"), "read or write"),
        (("competition", "publish", "nope"), "no competition 'nope'"),
    ],
)
def test_a_mistake_is_one_sentence_and_a_hint(run: Run, words: tuple[str, ...], says: str) -> None:
    failed = run(*words)
    assert failed.returncode == 2
    assert says in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stdout == ""
    assert len(failed.stderr.strip().splitlines()) == 2


def test_settings_that_do_not_fit_are_named(run: Run) -> None:
    for name, value in (("DATACUP_PORT", "many"), ("DATACUP_DATABASE_URL", "mysql://x/y")):
        failed = run("migrate", **{name: value})
        assert failed.returncode == 2
        assert name in failed.stderr
        assert "Traceback" not in failed.stderr


def test_a_malformed_competition_file_is_refused_by_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("schema_version: 1\nid: BAD ID\n", encoding="utf-8")
    run("migrate")
    failed = run("competition", "publish", "bad.yaml")
    assert failed.returncode == 2
    assert "bad.yaml, line 2" in failed.stderr


def test_a_competition_whose_entries_cannot_be_scored_is_not_published(run: Run) -> None:
    run("migrate")
    failed = run("competition", "publish", "select")
    assert failed.returncode == 2
    assert "'select' cannot be published: Scale imagenet: a supervised model is trained" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_site_and_the_hub_are_served_until_a_signal(run: Run, environment: dict[str, str], tmp_path: Path) -> None:
    run("migrate")
    site, hub = _free_port(), _free_port()
    words = ["serve", "--port", str(site), "--with-hub", "--hub-port", str(hub)]
    command = [sys.executable, "-m", "leaderboard.cli", *words]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert _get(f"http://127.0.0.1:{site}/api/v1/competitions").json()[0]["id"] == "digits"
            assert _get(f"http://127.0.0.1:{hub}/api/whoami-v2").status_code == 401
            taken = run("serve", "--port", str(site))
            assert taken.returncode == 2
            assert f"Port {site} of 127.0.0.1 is in use." in taken.stderr
            hub_taken = run("hub", "--port", str(hub))
            assert f"Port {hub} of 127.0.0.1 is in use." in hub_taken.stderr
        finally:
            server.send_signal(signal.SIGINT)
            said = server.communicate(timeout=30)[1]
        assert server.returncode == 0
        assert "Traceback" not in said


def test_help_reads_without_loading_the_server(run: Run) -> None:
    shown = run("--help")
    for command in ("migrate", "serve", "hub", "token", "competition", "submission"):
        assert command in shown.stdout
    code = "import sys, leaderboard.cli; print([m for m in ('sqlalchemy', 'fastapi', 'uvicorn') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.strip() == "[]"


def _get(url: str) -> httpx.Response:
    for _ in range(200):
        try:
            return httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"{url} does not answer")
