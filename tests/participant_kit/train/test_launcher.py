"""Runs: exact steps, determinism, recognition of finished work, and clear ends of what cannot go well."""

from __future__ import annotations

import fcntl
import json
import resource
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from competition.data.digests import file_sha256
from competition.data.engine import LocalEngine
from competition.data.shards import Sample
from competition.errors import DataFormatError, DivergedError, StorageError, TrainingError, UsageError
from competition.progress import Progress, ProgressHook
from competition.records.training import TrainingReport
from participant_kit.train.data.choice import DataChoice
from participant_kit.train.launcher import Plan, train
from participant_kit.train.machine import Machine
from tests.participant_kit.train.conftest import MakeShards, make_recipe, make_sample, train_on


class InterruptedRunError(Exception):
    """Ends a run from inside."""


def interrupt_at(step: int) -> ProgressHook:
    def progress(at: Progress) -> None:
        if at.stage == "training" and at.done == step:
            raise InterruptedRunError

    return progress


def run(data: Path, tmp_path: Path, name: str = "run", recipe=None, **options) -> TrainingReport:
    return train_on(recipe or make_recipe(), [data], tmp_path / "out", name, **options)


def model_of(tmp_path: Path, name: str = "run") -> Path:
    return tmp_path / "out" / name / "model.safetensors"


def test_steps_and_samples_are_exact_and_logged(shards: MakeShards, tmp_path: Path) -> None:
    data = shards()
    report = run(data, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "out/run/train_log.jsonl").read_text().splitlines()]
    assert (report.steps, report.samples_seen) == (8, 64)
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert lines[-1]["samples"] == 64
    assert report.final_loss == lines[-1]["loss"]
    assert (report.data.samples, report.data.shards, report.data.corrupt_samples) == (30, 3, 0)
    assert report.model_sha256 == file_sha256(model_of(tmp_path))


def test_the_same_run_twice_gives_the_same_bytes_and_learns(shards: MakeShards, tmp_path: Path) -> None:
    data = shards()
    recipe = make_recipe(steps=30)
    state = torch.random.get_rng_state()
    first, second = (run(data, tmp_path, name, recipe) for name in ("a", "b"))
    other = run(data, tmp_path, "c", recipe, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.model_sha256 == second.model_sha256 != other.model_sha256
    losses = [json.loads(line)["loss"] for line in (tmp_path / "out/a/train_log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] - 0.3


def test_a_worker_of_the_engine_trains(shards: MakeShards, tmp_path: Path) -> None:
    """It is daemonic and may start no processes of its own: it prepares its batches itself, and gets the same."""
    data, out = shards(), tmp_path / "out"
    tasks = {name: Plan(make_recipe(), "digits", DataChoice((str(data),)), out, name) for name in ("a", "b")}
    reports = LocalEngine(2).map(partial(train, machine=Machine("cpu", 1)), tasks, stage="training")
    assert reports["a"].model_sha256 == reports["b"].model_sha256 == run(data, tmp_path).model_sha256


def test_where_shards_lie_changes_nothing(shards: MakeShards, tmp_path: Path) -> None:
    here = run(shards(), tmp_path, "here")
    (tmp_path / "shards").rename(tmp_path / "elsewhere")
    there = run(tmp_path / "elsewhere", tmp_path, "there")
    assert here.model_sha256 == there.model_sha256
    assert here.data == there.data


def test_the_report_lists_sources_and_shards(shards: MakeShards, tmp_path: Path) -> None:
    one, two = shards(), shards([make_sample(number) for number in range(100, 112)], "two")
    report = train_on(make_recipe(), [one, two], tmp_path / "out", "both")
    assert report.data.source_samples == (30, 12)
    assert [(part.name, part.samples) for part in report.data.parts] == [
        ("00000000.tar", 10), ("00000001.tar", 10), ("00000002.tar", 10), ("00000000.tar", 10), ("00000001.tar", 2),
    ]  # fmt: skip
    assert report.data.parts[4].sha256 == file_sha256(two / "00000001.tar")
    assert (report.hardware.device, report.hardware.devices, report.gpu_hours) == ("CPU", 1, 0.0)
    curve = (tmp_path / "out/both/training_curve.svg").read_text()
    assert "samples seen" in curve
    assert "tiny, seed 0" in curve


def test_a_finished_run_is_recognised(shards: MakeShards, tmp_path: Path) -> None:
    data = shards()
    report = run(data, tmp_path)
    written = model_of(tmp_path).stat().st_mtime_ns
    assert run(data, tmp_path) == report
    assert model_of(tmp_path).stat().st_mtime_ns == written


def test_a_finished_run_of_something_else_is_not_overwritten(shards: MakeShards, tmp_path: Path) -> None:
    data = shards()
    run(data, tmp_path)
    other = shards([make_sample(number) for number in range(100, 120)], "other")
    with pytest.raises(UsageError, match="another seed"):
        run(data, tmp_path, seed=1)
    with pytest.raises(UsageError, match="another data"):
        run(other, tmp_path)
    with pytest.raises(UsageError, match="another recipe"):
        run(data, tmp_path, recipe=make_recipe(steps=9))
    model_of(tmp_path).write_bytes(b"changed")
    with pytest.raises(UsageError, match="another model file"):
        run(data, tmp_path)


def test_a_checkpoint_of_another_run_is_refused(shards: MakeShards, tmp_path: Path) -> None:
    data = shards()
    with pytest.raises(InterruptedRunError):
        run(data, tmp_path, progress=interrupt_at(5))
    with pytest.raises(TrainingError, match="another recipe"):
        run(data, tmp_path, recipe=make_recipe(steps=9))


def test_two_runs_in_one_folder_are_refused(shards: MakeShards, tmp_path: Path) -> None:
    data = shards()
    folder = tmp_path / "out" / "run"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="Another process is training"):
            run(data, tmp_path)


@pytest.mark.parametrize(
    ("member", "content", "reason"),
    [
        ("jpg", b"no image", "it is no jpeg, png or webp"),
        ("jpg", None, "no image"),
        ("txt", None, "no caption"),
        ("txt", b"\xff\xfe", "not UTF-8"),
    ],
)
def test_corrupt_samples_stop_training_beyond_the_tolerance(
    shards: MakeShards, tmp_path: Path, member: str, content: bytes | None, reason: str
) -> None:
    samples = [make_sample(number) for number in range(30)]
    members = dict(samples[13].members)
    members.pop(member)
    samples[13] = Sample(samples[13].key, members if content is None else {**members, member: content})
    data = shards(samples)
    with pytest.raises(TrainingError, match=reason) as caught:
        run(data, tmp_path)
    assert "'000000013'" in str(caught.value)
    assert "00000001.tar" in str(caught.value)
    report = run(data, tmp_path, "tolerant", make_recipe(corrupt_tolerance=0.05))
    assert report.data.corrupt_samples == 1


def test_missing_empty_and_damaged_shards(shards: MakeShards, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no folder .*nowhere"):
        run(tmp_path / "nowhere", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="no training data: no shards"):
        run(tmp_path / "empty", tmp_path)
    data = shards()
    content = (data / "00000001.tar").read_bytes()
    (data / "00000001.tar").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataFormatError, match=r"00000001\.tar"):
        run(data, tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a/", "/a"])
def test_a_run_stays_in_the_output_folder(shards: MakeShards, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a folder"):
        run(shards(), tmp_path, name)
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_shards_without_samples(tmp_path: Path, shards: MakeShards) -> None:
    data = shards([Sample("a", {"txt": b"x"})])
    (data / "00000000.tar").write_bytes(bytes(10240))
    with pytest.raises(TrainingError, match="no sample"):
        run(data, tmp_path)


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_checkpoint(shards: MakeShards, tmp_path: Path) -> None:
    data = shards()
    with pytest.raises(InterruptedRunError):
        run(data, tmp_path, progress=interrupt_at(5))
    checkpoint = tmp_path / "out/run/checkpoints/step-00000004"
    weights = load_file(checkpoint / "objective.safetensors")
    weights["clip.ln_final.weight"][0] = float("nan")
    save_file(weights, checkpoint / "objective.safetensors")
    with pytest.raises(DivergedError, match="loss is nan at step 5"):
        run(data, tmp_path)
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["step-00000002", "step-00000004"]
    assert not model_of(tmp_path).exists()


def test_a_damaged_checkpoint_is_named(shards: MakeShards, tmp_path: Path) -> None:
    data = shards()
    with pytest.raises(InterruptedRunError):
        run(data, tmp_path, progress=interrupt_at(5))
    optimizer = tmp_path / "out/run/checkpoints/step-00000004/optimizer.safetensors"
    optimizer.write_bytes(optimizer.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="step-00000004 cannot be read"):
        run(data, tmp_path)


def test_no_room_while_saving_leaves_the_previous_checkpoint(shards: MakeShards, tmp_path: Path) -> None:
    """The operating system refuses large writes from step 3 on; afterwards the run goes on as if nothing had been."""
    data = shards()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_disk(at: Progress) -> None:
        if at.stage == "training" and at.done == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))

    try:
        with pytest.raises(StorageError, match="largest size"):
            run(data, tmp_path, progress=fill_disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    folder = tmp_path / "out/run/checkpoints"
    assert [path.name for path in folder.iterdir()] == ["step-00000002"]
    assert run(data, tmp_path).model_sha256 == run(data, tmp_path, "unbroken").model_sha256
