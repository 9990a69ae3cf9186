"""The scripts for SLURM are run for real, on two processes, with stand-ins for SLURM's two commands alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from competition.data.digests import file_sha256
from competition.data.shards import write_shard
from tests.competition.verification.entries import COMPETITION_YAML
from tests.conftest import ROOT
from tests.participant_kit.train.conftest import make_sample

SCRIPTS = ROOT / "participant_kit" / "train" / "slurm"
NAMES = sorted(path.name for path in SCRIPTS.iterdir())

DATACUP = f"""#!{sys.executable} -Wignore
from participant_kit.cli import main
main()
"""
TORCHRUN = f"""#!{sys.executable} -Wignore
from torch.distributed.run import main
main()
"""
SCONTROL = """#!/bin/bash
echo "$@" >> scontrol.txt
[ "$1 $2" = "show hostnames" ] && printf '127.0.0.1\\nnode2\\n'
exit 0
"""
SRUN = f"""#!{sys.executable}
import os, subprocess, sys
words = sys.argv[1:]
assert words.pop(0) == "--kill-on-bad-exit=1"
tasks = int(os.environ["SLURM_NTASKS"])
places = ({{"SLURM_PROCID": str(n), "SLURM_LOCALID": str(n)}} for n in range(tasks))
started = [subprocess.Popen(words, env={{**os.environ, **place}}) for place in places]
sys.exit(max(process.wait() for process in started))
"""


def test_there_are_two_scripts() -> None:
    assert NAMES == ["train.sbatch", "train_torchrun.sbatch"]


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment of a job in ``tmp_path``, which has data and rules."""
    (tmp_path / "shards").mkdir()
    write_shard(tmp_path / "shards", 0, [make_sample(number) for number in range(16)])
    (tmp_path / "rules.yaml").write_text(COMPETITION_YAML)
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in {"datacup": DATACUP, "torchrun": TORCHRUN, "scontrol": SCONTROL, "srun": SRUN}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "MASTER_"))}
    return {
        **kept,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "SLURM_JOB_ID": str(4_000_000 + os.getpid() % 20_000),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_CPUS_PER_TASK": "1",
    }


def command(script: str, name: str) -> list[str]:
    options = ["--competition", "rules.yaml", "--scale", "nano", "--data-dir", "shards", "--output-dir", "runs"]
    return ["bash", str(SCRIPTS / script), *options, "--exp-name", name, "--device", "cpu"]


def run_job(tmp_path: Path, script: str, environment: dict[str, str], name: str) -> subprocess.CompletedProcess[str]:
    words = command(script, name)
    return subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
    )


@pytest.mark.parametrize("script", NAMES)
def test_a_script_is_sound_bash_and_survives_a_requeue(script: str) -> None:
    assert subprocess.run(["bash", "-n", SCRIPTS / script], check=False).returncode == 0
    options = re.findall(r"^#SBATCH (.*)$", (SCRIPTS / script).read_text(), flags=re.MULTILINE)
    assert {"--requeue", "--open-mode=append", "--signal=B:USR1@120"} <= set(options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "more"),
    [
        ("train.sbatch", {"SLURM_NTASKS": "2"}),
        ("train_torchrun.sbatch", {"SLURM_NTASKS": "1", "PROCESSES_PER_NODE": "2"}),
    ],
)
def test_a_job_of_two_processes_trains_one_model(
    tmp_path: Path, job: dict[str, str], script: str, more: dict[str, str]
) -> None:
    done = run_job(tmp_path, script, {**job, **more}, "first")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "runs/first/training_report.json").read_bytes())
    assert (report["hardware"]["devices"], report["steps"]) == (2, 12)
    assert report["model_sha256"] == file_sha256(tmp_path / "runs/first/model.safetensors")
    assert done.stdout.count("final loss") == 1
    assert (tmp_path / "scontrol.txt").read_text() == "show hostnames node[1-2]\n"


@pytest.mark.slow
def test_a_failure_is_the_jobs(tmp_path: Path, job: dict[str, str]) -> None:
    (tmp_path / "shards" / "00000000.tar").unlink()
    done = run_job(tmp_path, "train.sbatch", {**job, "SLURM_NTASKS": "2"}, "first")
    assert done.returncode == 6
    assert done.stderr.count("Error: shards holds no training data: no shards, images or parquet files.") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_killed_job_goes_on_with_the_same_command(tmp_path: Path, job: dict[str, str]) -> None:
    """It asks to be requeued when its time is nearly up, trains on meanwhile, is killed, and goes on when run again."""
    long = COMPETITION_YAML.replace("samples_seen: 100", "samples_seen: 4000")
    (tmp_path / "rules.yaml").write_text(long)
    environment = {**job, "SLURM_NTASKS": "2"}
    checkpoints, requests = tmp_path / "runs/first/checkpoints", tmp_path / "scontrol.txt"
    script = subprocess.Popen(
        command("train.sbatch", "first"),
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(lambda: any(checkpoints.glob("step-*")), script)
        script.send_signal(signal.SIGUSR1)
        _wait_for(lambda: "requeue" in requests.read_text(), script)
        assert script.poll() is None
    finally:
        os.killpg(script.pid, signal.SIGKILL)
        script.wait()
    assert f"requeue {job['SLURM_JOB_ID']}\n" in requests.read_text()
    assert not (tmp_path / "runs/first/model.safetensors").exists()
    done = run_job(tmp_path, "train.sbatch", environment, "first")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "runs/first/train_log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(10, 501, 10))


def _wait_for(happened, script: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while not happened():
        assert script.poll() is None, "the job ended early"
        assert time.monotonic() < until
        time.sleep(0.02)
