"""Curves beside the log: the files of TensorBoard and of W&B hold what the log says, also of a run in two parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from competition.progress import Progress, ProgressHook
from participant_kit.train.data.choice import DataChoice
from participant_kit.train.launcher import Plan, train
from participant_kit.train.machine import Machine
from participant_kit.train.trackers import TrackerName
from tests.forks import Forks
from tests.participant_kit.train.conftest import MakeShards, make_recipe

CPU = Machine("cpu", threads=1, workers=0)


class InterruptedRunError(Exception):
    """Ends a run from inside."""


def interrupt_at(step: int) -> ProgressHook:
    def progress(at: Progress) -> None:
        if at.stage == "training" and at.done == step:
            raise InterruptedRunError

    return progress


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train_log.jsonl").read_text().splitlines()]


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_shows_the_log_also_of_a_resumed_run(shards: MakeShards, tmp_path: Path) -> None:
    """Steps between the last checkpoint and the end of the first part are trained twice, and shown once."""
    pytest.importorskip("tensorboard")
    plan = Plan(make_recipe(steps=12), "digits", DataChoice((str(shards()),)), tmp_path / "out", "run")
    with pytest.raises(InterruptedRunError):
        train(plan, CPU, track=[TrackerName.TENSORBOARD], progress=interrupt_at(8))
    assert [step for step, _ in curves(plan.folder)["train/loss"]] == list(range(1, 8))
    train(plan, CPU, track=[TrackerName.TENSORBOARD])
    lines, found = logged(plan.folder), curves(plan.folder)
    assert len(list((plan.folder / "tensorboard").iterdir())) == 2
    for name in ("loss", "learning_rate", "logit_scale", "samples_per_second"):
        expected = [(line["step"], line[name]) for line in lines]
        assert [step for step, _ in found[f"train/{name}"]] == [step for step, _ in expected] == list(range(1, 13))
        values = [value for _, value in found[f"train/{name}"]]
        assert values == pytest.approx([value for _, value in expected], rel=1e-6)


OFFLINE = """
import sys
from pathlib import Path
from participant_kit.train.trackers import TrackerName
from participant_kit.train.data.choice import DataChoice
from participant_kit.train.launcher import Plan, train
from tests.participant_kit.train.conftest import make_recipe
from tests.participant_kit.train.test_trackers import CPU, InterruptedRunError, interrupt_at
plan = Plan(make_recipe(steps=12), "digits", DataChoice((sys.argv[1],)), Path(sys.argv[2]), sys.argv[3])
try:
    train(plan, CPU, track=[TrackerName.WANDB], progress=interrupt_at(int(sys.argv[4])))
except InterruptedRunError:
    print("interrupted")
"""


def offline(forks: Forks, data: Path, out: Path, name: str, stop: int) -> str:
    """Train with W&B in a process of its own, without a network; returns what it printed."""
    environment = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "HOME": str(out.parent)}
    done = forks.run(OFFLINE, data, out, name, stop, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wandb_ids(folder: Path) -> list[str]:
    return [path.name.split("-", 3)[3] for path in sorted((folder / "wandb").glob("offline-run-*"))]


@pytest.mark.slow
def test_wandb_offline_keeps_the_run_and_its_continuation_under_one_id(
    forks: Forks, shards: MakeShards, tmp_path: Path
) -> None:
    pytest.importorskip("wandb")
    data, out = shards(), tmp_path / "out"
    assert "interrupted" in offline(forks, data, out, "run one", 8)
    assert "interrupted" not in offline(forks, data, out, "run one", 0)
    first, second = wandb_ids(out / "run one")
    assert first == second
    assert first.startswith("run-one-")
    for folder in (out / "run one" / "wandb").glob("offline-run-*"):
        (record,) = folder.glob("run-*.wandb")
        content = record.read_bytes()
        for word in (b"train/loss", b"train/learning_rate", b"samples_seen"):
            assert word in content
    offline(forks, data, tmp_path / "other", "run one", 0)
    (other,) = wandb_ids(tmp_path / "other" / "run one")
    assert other != first
