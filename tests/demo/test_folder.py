"""The demo empties only its own folder, and its server says once what is wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from competition.errors import UsageError
from demo import story
from demo.services import call, isolate

ROOT = Path(__file__).resolve().parents[2]


def test_a_folder_that_only_looks_like_a_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "leaderboard").mkdir()
    (tmp_path / "leaderboard" / "app.py").write_text("precious")
    with pytest.raises(UsageError, match="holds no demo"):
        story.run(tmp_path)
    assert (tmp_path / "leaderboard" / "app.py").read_text() == "precious"


def test_a_site_needs_a_finished_demo(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished demo"):
        story.serve(tmp_path, 0)


def test_what_the_shell_is_set_up_for_does_not_reach_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"DATACUP_DATABASE_URL": "x", "HF_TOKEN": "y", "NO_PROXY": "a.b", "HOME": "/"})
    isolate()
    assert os.environ == {
        "HOME": "/",
        "NO_PROXY": "a.b,127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def test_a_port_in_use_is_said_once(tmp_path: Path) -> None:
    call(["datacup-leaderboard", "migrate"], {"DATACUP_DATA_DIR": str(tmp_path / "leaderboard")})
    (tmp_path / "demo.json").write_text(json.dumps({"hub_port": 0}))
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "demo", "serve", "--port", port, "--output-dir", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.count("Error:") == 1
    assert f"Port {port} of 127.0.0.1 is in use" in done.stderr
