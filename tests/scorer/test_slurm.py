"""The script for SLURM is run for real, by bash, with a stand-in for SLURM's one command alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from competition.records.lifecycle import Processing
from tests.competition.verification.entries import TASKS
from tests.ray_cluster import ROOT
from tests.scorer.conftest import Board, Enter, Workplace
from tests.scorer.test_cli import COMMAND
from tests.scorer.test_service import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

SCORER = f"""#!{sys.executable} -Wignore
from scorer.cli import main
if __name__ == "__main__":
    main()
"""
SCONTROL = """#!/bin/bash
echo "$@" >> "$HOME/scontrol.txt"
"""
SECRET = "dcp_the-token-of-the-scorer"


class Cluster:
    """A folder with commands, a token file and a home; nodes start without the environment of whoever submits."""

    def __init__(self, root: Path, token: str) -> None:
        self.root = root
        commands = root / "commands"
        commands.mkdir()
        for name, text in {"datacup-scorer": SCORER, "scontrol": SCONTROL}.items():
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        self.path = f"{commands}:{os.environ['PATH']}"
        self.token_file = root / "the token"
        self.token_file.write_text(f"{token}\n")
        self.token_file.chmod(0o600)
        self.script = root / "scorers.sbatch"

    def make(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Have the script written."""
        given = {"PATH": self.path, "PYTHONPATH": str(ROOT), "DATACUP_ENDPOINT": "http://127.0.0.1:9", **environment}
        where = ["--token-file", str(self.token_file), "--output", str(self.script), "--logs", str(self.root)]
        return subprocess.run(
            [*COMMAND, "slurm", *where, *options], env=given, capture_output=True, text=True, timeout=60, check=False
        )

    def start(self, number: int) -> subprocess.Popen[str]:
        """An array task, as SLURM starts it."""
        node = {
            "PATH": self.path,
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.root),
            "OMP_NUM_THREADS": "1",
            "SLURM_ARRAY_JOB_ID": "77",
            "SLURM_ARRAY_TASK_ID": str(number),
            "SLURM_CPUS_PER_TASK": "1",
        }
        words = ["bash", str(self.script)]
        return subprocess.Popen(words, env=node, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_script_is_sound_asks_for_what_was_said_and_holds_no_secret(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, SECRET)
    hostile = "$(touch /tmp/never) 'x' `id`"
    made = cluster.make(
        *("--workers", "3", "--time", "1-12:30:00", "--mem", "64G", "--partition", "gpu,long"),
        DATACUP_TOKEN="another-secret", DATACUP_HUB_TOKEN="a-third", DATACUP_TASK_SECONDS="600", DATACUP_HUBS=hostile,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    text = cluster.script.read_text()
    assert subprocess.run(["bash", "-n", cluster.script], check=False).returncode == 0
    options = re.findall(r"^#SBATCH (.*)$", text, flags=re.MULTILINE)
    assert {
        *("--array=0-2", "--gpus=1", "--time=1-12:30:00", "--mem=64G", "--partition=gpu,long", "--requeue"),
        *("--signal=B:USR1@120", "--export=NONE", "--open-mode=append", f"--output={tmp_path}/%x-%A_%a.log"),
    } <= set(options)
    assert not [word for word in (SECRET, "another-secret", "a-third", "HUB_TOKEN") if word in text]
    shown = 'set -a; eval "$(grep ^export "$0" | grep -v SLURM)"; printf %s "$DATACUP_HUBS|$DATACUP_TASK_SECONDS"'
    read = subprocess.run(["bash", "-c", shown, cluster.script], capture_output=True, text=True, check=True)
    assert read.stdout == f"{hostile}|600"
    for wrong in (["--time", "soon"], ["--partition", "a b\n#SBATCH --x"], ["--mem", "$(id)"]):
        refused = cluster.make(*wrong)
        assert refused.returncode == 2, wrong
        assert "Traceback" not in refused.stderr
    cluster.token_file.chmod(0o640)
    task = cluster.start(0)
    _, errors = task.communicate(timeout=30)
    assert task.returncode == 2
    assert "mode 640" in errors
    assert "chmod 600" in errors


@pytest.mark.slow
def test_array_tasks_hand_back_before_their_time_is_up_and_drain_the_queue_together(
    board: Board, workplace: Workplace, enter: Enter, tmp_path: Path
) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = Cluster(folder, board.scorer_token)
    environment = {**workplace.environment, "DATACUP_ENDPOINT": board.url, "DATACUP_POLL_SECONDS": "0.1"}
    assert cluster.make("--workers", "2", "--gpus", "0", **environment).returncode == 0
    entered = [enter(seed) for seed in range(2)]
    first = cluster.start(0)
    wait_until(lambda: any(request.endswith("/results") for request in board.gate.requests))
    first.send_signal(signal.SIGUSR1)
    _, errors = first.communicate(timeout=100)
    assert first.returncode == 0, errors
    assert (folder / "scontrol.txt").read_text() == "requeue 77_0\n"
    states = [board.participant.submission(submission).processing for submission in entered]
    assert set(states) != {Processing.SCORED}, "it ended early"
    assert not {Processing.RUNNING, Processing.LEASED} & set(states), "and left nothing in its hands"
    tasks = [cluster.start(number) for number in range(2)]
    for task in tasks:
        output, errors = task.communicate(timeout=100)
        assert task.returncode == 0, errors
        assert board.scorer_token not in output + errors
    assert (folder / "scontrol.txt").read_text() == "requeue 77_0\n", "who has nothing left to do is not queued again"
    for submission in entered:
        assert board.participant.submission(submission).processing is Processing.SCORED
        results = [event for event in board.participant.events(submission) if event.kind == "task_result"]
        assert [event.detail["task"] for event in results] == list(TASKS)
