"""Several devices: a process and one loaded model for each, results as of one device, and failures told at the end."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from competition.errors import EvaluationError
from competition.evaluation.devices import default_devices
from competition.evaluation.pixel_batches import Precision
from competition.evaluation.protocols import Subject
from competition.evaluation.run import evaluate
from competition.evaluation.shares import shares
from competition.records.evaluation import TaskResult
from competition.rules import Aggregate, Protocol, Suite, Task
from tests.competition.evaluation.test_protocols import clip, write_set

CPU = torch.device("cpu")
SETS = {"small": 60, "large": 90, "other": 66}


@dataclass(frozen=True)
class Logged:
    """A model that leaves a note of every time it is loaded; ``dies`` kills the first process that loads it."""

    notes: Path
    dies: bool = False

    def load(self, device: torch.device, precision: Precision, root: Path) -> Subject:
        assert root.is_dir()
        note = self.notes / f"{os.getpid()}-{len(list(self.notes.iterdir()))}"
        note.write_text(f"{device} {precision} {torch.get_num_threads()}")
        if self.dies:
            try:
                (self.notes / "died").mkdir()
            except FileExistsError:
                return Subject(clip())
            os.kill(os.getpid(), signal.SIGKILL)
        return Subject(clip())

    def named(self) -> dict[str, str]:
        return {"reference_model": "timm:nothing"}


def task(name: str, dataset: str, metric: str = "acc1") -> Task:
    return Task(
        id=name,
        title="T",
        protocol=Protocol.ZEROSHOT_CLASSIFICATION,
        dataset=dataset,
        metric=metric,
        samples=SETS.get(dataset),
    )


def suite(*tasks: Task) -> Suite:
    average = Aggregate(id="average", title="Average", tasks=tuple(task.id for task in tasks))
    return Suite(id="s", version=1, tasks=tasks, aggregates=(average,), primary="average")


FOUR = suite(task("a", "small"), task("b", "large"), task("c", "other"), task("d", "small", "mean_per_class_recall"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, (name, count) in enumerate(SETS.items()):
        write_set(tmp_path / name, count=count, seed=seed)
    (tmp_path / "notes").mkdir()
    return tmp_path


def content(results: tuple[TaskResult, ...]) -> list[dict]:
    """Without what differs between two runs on one machine."""
    return [result.model_dump(exclude={"seconds", "images_per_second", "peak_memory_bytes"}) for result in results]


def test_two_devices_give_what_one_gives_in_the_order_of_the_suite(root: Path) -> None:
    one = evaluate(Logged(root / "notes"), FOUR, root, devices=(CPU,))
    assert [note.name.split("-")[0] for note in (root / "notes").iterdir()] == [str(os.getpid())]
    told: list[TaskResult] = []
    two = evaluate(Logged(root / "notes"), FOUR, root, devices=(CPU, CPU), on_result=told.append)
    assert content(two.results) == content(one.results)
    assert [result.task for result in two.results] == ["a", "b", "c", "d"]
    assert sorted(told, key=lambda result: result.task) == list(two.results)
    # One process, and one load, for each of the two devices.
    loaded = [note.name.split("-")[0] for note in (root / "notes").iterdir()]
    assert (len(loaded), len(set(loaded))) == (3, 3)


def test_finished_tasks_are_not_run_and_one_set_needs_no_process(root: Path) -> None:
    whole = evaluate(Logged(root / "notes"), FOUR, root, devices=(CPU,))
    told: list[TaskResult] = []
    again = evaluate(
        Logged(root / "notes"), FOUR, root, devices=(CPU, CPU), done=whole.results[1:3], on_result=told.append
    )
    assert [result.task for result in told] == ["a", "d"]
    assert content(again.results) == content(whole.results)
    assert {note.name.split("-")[0] for note in (root / "notes").iterdir()} == {str(os.getpid())}


def test_a_process_that_dies_is_replaced_and_a_set_that_fails_is_told_last(root: Path) -> None:
    """The dead process's device is free for the new one; the other sets are finished first."""
    broken = suite(task("a", "absent"), task("b", "large"), task("c", "other"))
    told: list[TaskResult] = []
    with pytest.raises(EvaluationError, match="'absent' of task 'a' is not in"):
        evaluate(Logged(root / "notes", dies=True), broken, root, devices=(CPU, CPU), on_result=told.append)
    assert (root / "notes" / "died").is_dir()
    assert sorted(result.task for result in told) == ["b", "c"]


def test_tasks_on_one_set_stay_together_and_large_sets_come_first() -> None:
    assert shares(FOUR.tasks) == [("a", "d"), ("b",), ("c",)]  # 120, 90 and 66 images
    unknown = task("e", "unknown")
    assert shares((unknown, task("b", "large"))) == [("b",), ("e",)]


def test_without_a_gpu_the_cpu_is_the_device() -> None:
    gpus = torch.cuda.device_count()
    assert default_devices() == (tuple(torch.device("cuda", number) for number in range(gpus)) or (CPU,))
