"""The check before a run: it finds what the run would meet, says all of it at once, and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from competition.data.digests import file_sha256
from competition.data.shards import Sample
from competition.errors import DataFormatError, DivergedError, StorageError, TrainingError, UsageError
from competition.progress import Progress
from competition.rules.recipes import Optimizer, Recipe
from participant_kit.train.check import check
from participant_kit.train.check_report import CheckReport
from participant_kit.train.data.choice import DataChoice
from participant_kit.train.data.shards import open_shards
from participant_kit.train.data.source import TrainingSet
from participant_kit.train.launcher import Plan, train
from participant_kit.train.machine import Machine
from participant_kit.train.room import bytes_free, bytes_wanted, require_room
from participant_kit.train.spot_check import SpotCheck, require_tolerable
from tests.participant_kit.train.conftest import MakeShards, make_recipe, make_sample

CPU = Machine("cpu", threads=1, workers=0)


class InterruptedRunError(Exception):
    """Ends a run from inside."""


def interrupt_at(step: int):
    def progress(at: Progress) -> None:
        if at.stage == "training" and at.done == step:
            raise InterruptedRunError

    return progress


def plan_of(tmp_path: Path, *data: Path, recipe: Recipe | None = None) -> Plan:
    return Plan(recipe or make_recipe(steps=24), "digits", DataChoice(tuple(map(str, data))), tmp_path / "out", "run")


def checked(tmp_path: Path, *data: Path, recipe: Recipe | None = None) -> CheckReport:
    return check(plan_of(tmp_path, *data, recipe=recipe), CPU)


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (file_sha256(path), path.stat().st_mtime_ns) for path in files}


def broken(number: int, member: str = "jpg", content: bytes = b"no image") -> Sample:
    sample = make_sample(number)
    return Sample(sample.key, {**sample.members, member: content})


def test_a_run_that_can_go_ahead(shards: MakeShards, tmp_path: Path) -> None:
    first, second = shards(), shards([make_sample(number) for number in range(30, 42)], "second")
    report = checked(tmp_path, first, second)
    assert (report.steps, report.steps_done, report.processes, report.device) == (24, 0, 1, "CPU")
    data = report.data
    assert (data.samples, data.source_samples, data.parts, data.distinct_uids) == (42, (30, 12), 5, 42)
    assert data.copies_kept_apart
    assert (data.drawn, data.corrupt, data.corrupt_named) == (42, 0, ())
    time = report.time
    assert (time.probe_steps, time.measured_steps) == (20, 15)
    assert time.samples_per_second == pytest.approx(8 / time.seconds_per_step)
    assert time.estimated_seconds == pytest.approx(time.seconds_to_start + 24 * time.seconds_per_step)
    assert 0 <= time.data_wait_share <= 1
    assert time.estimated_gpu_hours == 0
    assert report.memory.peak_mib > 50
    assert report.memory.peak_gpu_mib is None
    assert {path.name for path in tmp_path.iterdir()} == {"shards", "second"}


def test_the_sizes_are_those_of_the_files_that_a_run_writes(shards: MakeShards, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, shards())
    disk = check(plan, CPU).disk
    train(plan, CPU)
    assert disk.wanted_bytes == 3 * disk.checkpoint_bytes + disk.model_bytes
    (checkpoint, *_) = (plan.folder / "checkpoints").iterdir()
    written = sum(path.stat().st_size for path in checkpoint.iterdir())
    headers = 20_000
    assert 0 < written - disk.checkpoint_bytes < headers < disk.checkpoint_bytes
    assert 0 < (plan.folder / "model.safetensors").stat().st_size - disk.model_bytes < headers


@pytest.mark.parametrize("steps", [1, 3])
def test_a_recipe_of_few_steps_is_tried_with_them(shards: MakeShards, tmp_path: Path, steps: int) -> None:
    report = checked(tmp_path, shards(), recipe=make_recipe(steps=steps))
    assert (report.steps, report.time.probe_steps) == (steps, steps)
    assert report.time.measured_steps == {1: 1, 3: 2}[steps]


def test_a_run_that_lies_there_is_read_and_not_changed(shards: MakeShards, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, shards())
    with pytest.raises(InterruptedRunError):
        train(plan, CPU, progress=interrupt_at(13))
    before = contents(tmp_path)
    report = check(plan, CPU)
    assert report.steps_done == 12
    assert report.time.estimated_seconds == pytest.approx(
        report.time.seconds_to_start + 12 * report.time.seconds_per_step
    )
    assert report.disk.wanted_bytes < report.disk.checkpoint_bytes + report.disk.model_bytes
    assert contents(tmp_path) == before
    model = train(plan, CPU).model_sha256
    assert model == train(replace(plan, exp_name="unbroken"), CPU).model_sha256
    finished = contents(tmp_path)
    report = check(plan, CPU)
    assert (report.steps_done, report.time.estimated_seconds, report.disk.wanted_bytes) == (24, 0, 0)
    assert contents(tmp_path) == finished


def test_all_that_is_wrong_is_said_at_once(shards: MakeShards, tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, shards([broken(number) if number in {3, 4} else make_sample(number) for number in range(30)])
    )
    other = replace(plan, recipe=make_recipe(steps=24, corrupt_tolerance=0.1))
    train(other, CPU)
    with pytest.raises(TrainingError, match="cannot go ahead for 2 reasons") as caught:
        check(plan, CPU)
    assert "2 of 30 samples drawn from 30 are corrupt, and the recipe tolerates 0 in all" in caught.value.message
    assert "sample '000000003' of shard" in caught.value.message
    assert "holds a finished run with another recipe" in caught.value.message
    assert "build the shards again" in caught.value.hint
    assert "Choose another --exp-name" in caught.value.hint


def test_every_source_that_cannot_be_opened_is_named(shards: MakeShards, tmp_path: Path) -> None:
    sound, cut = shards(), shards(name="cut")
    (cut / "00000001.tar").write_bytes((cut / "00000001.tar").read_bytes()[:700])
    with pytest.raises(TrainingError, match="3 reasons") as caught:
        check(replace(plan_of(tmp_path, tmp_path / "nowhere", sound, cut), output_dir=sound / "00000000.tar"), CPU)
    for words in (f"no folder {tmp_path / 'nowhere'}", "cut/00000001.tar", "00000000.tar is no folder"):
        assert words in caught.value.message


def test_one_problem_is_the_error_that_training_would_end_with(shards: MakeShards, tmp_path: Path) -> None:
    data = shards()
    with pytest.raises(UsageError, match="is not the name of a folder"):
        check(replace(plan_of(tmp_path, data), exp_name="../x"), CPU)
    (data / "00000001.tar").write_bytes(b"x" * 1000)
    with pytest.raises(DataFormatError, match=r"00000001\.tar"):
        checked(tmp_path, data)


def test_a_few_corrupt_samples_are_named_and_tolerated(shards: MakeShards, tmp_path: Path) -> None:
    samples = [broken(number, "txt", b"\xff") if number == 13 else make_sample(number) for number in range(30)]
    data = checked(tmp_path, shards(samples), recipe=make_recipe(steps=24, corrupt_tolerance=0.05)).data
    assert (data.drawn, data.corrupt) == (30, 1)
    (named,) = data.corrupt_named
    assert "sample '000000013' of shard" in named
    assert "not UTF-8" in named


def test_data_of_corrupt_samples_alone(shards: MakeShards, tmp_path: Path) -> None:
    recipe = make_recipe(steps=24, corrupt_tolerance=0.5)
    with pytest.raises(TrainingError, match="2 reasons") as caught:
        checked(tmp_path, shards([broken(number) for number in range(30)]), recipe=recipe)
    assert "No sample of the training data can be used" in caught.value.message
    assert "30 of 30 samples drawn" in caught.value.message


def test_copies_that_may_meet(shards: MakeShards, tmp_path: Path) -> None:
    samples = [make_sample(number, uid=f"{number % 5:032x}") for number in range(30)]
    data = checked(tmp_path, shards(samples)).data
    assert (data.distinct_uids, data.copies_kept_apart) == (5, False)
    enough = shards([make_sample(number, uid=f"{number % 10:032x}") for number in range(30)], "enough")
    data = checked(tmp_path, enough).data
    assert (data.distinct_uids, data.copies_kept_apart) == (10, True)


def test_a_recipe_that_diverges(shards: MakeShards, tmp_path: Path) -> None:
    """Decay multiplies every weight by -99 at each step, which no 32-bit number stands for long."""
    optimizer = Optimizer(learning_rate=0.001, weight_decay=1e5, warmup_steps=0)
    with pytest.raises(DivergedError, match="of the probe: training would diverge"):
        checked(tmp_path, shards(), recipe=make_recipe(steps=40, optimizer=optimizer))


def test_a_draw_speaks_for_data_that_are_larger(shards: MakeShards) -> None:
    """Two of a thousand may be chance where one in a thousand is tolerated; ten are not (p = 1e-7)."""
    data = TrainingSet([open_shards(shards(), 1, lambda _progress: None)] * 400)
    recipe = make_recipe(corrupt_tolerance=0.001)
    assert int(0.001 * len(data)) == 12
    require_tolerable(SpotCheck(1000, 2, ("a",)), data, recipe)
    with pytest.raises(TrainingError, match=r"10 of 1,000 samples drawn from 12,000 are corrupt.*tolerates 12 in all"):
        require_tolerable(SpotCheck(1000, 10, ("a",)), data, recipe)
    with pytest.raises(TrainingError, match="tolerates 0"):
        require_tolerable(SpotCheck(1000, 1, ("a",)), data, make_recipe())


def test_a_disk_without_room(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "run"
    free = bytes_free(folder)
    require_room(folder, free // 2, free)
    with pytest.raises(StorageError, match=r"may write [\d,.]+ MiB more .* are free"):
        require_room(folder, free + 2**20, free)
    assert bytes_wanted(folder, 100, 30) == 330
    (folder / "checkpoints" / "step-00000002").mkdir(parents=True)
    (folder / "checkpoints" / "step-00000002" / "state.json").write_bytes(bytes(100))
    assert bytes_wanted(folder, 100, 30) == 230


def test_the_draw_is_seeded(shards: MakeShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("participant_kit.train.spot_check.DRAWN", 6)
    samples = [broken(number) if number % 2 else make_sample(number) for number in range(30)]
    plan = plan_of(tmp_path, shards(samples), recipe=make_recipe(steps=24, corrupt_tolerance=0.9))
    first, again, other = (check(replace(plan, seed=seed), CPU).data for seed in (0, 0, 1))
    assert first == again
    assert first.drawn == 6
    assert first.corrupt_named != other.corrupt_named
