"""A suite is run task by task; finished tasks are not run again; the report says what the numbers mean."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from competition.errors import EvaluationError, UsageError
from competition.evaluation.run import evaluate_suite
from competition.records.evaluation import EvaluationReport, TaskResult
from competition.rules import (
    Aggregate,
    ClipRecipe,
    Competition,
    Phase,
    Pool,
    Protocol,
    Scale,
    Suite,
    Task,
    Track,
)
from competition.statistics import clopper_pearson

CPU = torch.device("cpu")
SAMPLES = {"digits10": 354, "digits4": 81, "retrieval": 150}


def make_task(name: str, metric: str, **changes: object) -> Task:
    protocol = Protocol.IMAGE_TEXT_RETRIEVAL if name == "retrieval" else Protocol.ZEROSHOT_CLASSIFICATION
    values = {"id": name, "title": name, "protocol": protocol, "dataset": name, "metric": metric}
    return Task.model_validate(values | {"samples": SAMPLES[name]} | changes)


def make_competition(recipe: ClipRecipe, *tasks: Task) -> Competition:
    average = Aggregate(id="average", title="Average", tasks=tuple(task.id for task in tasks))
    return Competition(
        schema_version=1,
        id="golden",
        version=1,
        title="Golden",
        summary="",
        tracks=(Track(id="t", title="T"),),
        scales=(Scale(id="s", title="S", pool=Pool(id="p", samples=1), recipe=recipe.id),),
        recipes=(recipe,),
        suite=Suite(id="golden", version=1, tasks=tasks, aggregates=(average,), primary="average"),
        phases=(Phase(id="public", title="Public", opens=datetime(2026, 1, 1, tzinfo=UTC)),),
    )


@pytest.fixture(scope="module")
def root(zeroshot_golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    for name in SAMPLES:
        shutil.copytree(zeroshot_golden / name, folder / name, copy_function=shutil.copyfile)
    return folder


@pytest.fixture
def competition(golden_recipe: ClipRecipe) -> Competition:
    return make_competition(
        golden_recipe,
        make_task("digits10", "acc1"),
        make_task("digits4", "mean_per_class_recall"),
        make_task("retrieval", "mean_recall@1"),
    )


@pytest.fixture
def report(competition: Competition, golden_recipe: ClipRecipe, golden_model: Path, root: Path) -> EvaluationReport:
    return evaluate_suite(golden_model, competition, golden_recipe, root, device=CPU)


def test_the_report_is_complete_and_survives_json(report: EvaluationReport, competition: Competition) -> None:
    assert [result.task for result in report.results] == [task.id for task in competition.suite.tasks]
    assert report.suite_digest == competition.suite.digest
    assert EvaluationReport.model_validate_json(report.model_dump_json()) == report


def test_intervals_hold_the_value_and_outcomes_give_it_back(report: EvaluationReport) -> None:
    methods = {result.task: result.interval.method for result in report.results}
    assert methods == {"digits10": "clopper-pearson", "digits4": "bootstrap", "retrieval": "bootstrap"}
    for result in report.results:
        assert result.interval.low < result.value < result.interval.high
        assert result.value == result.metrics[result.metric]
        decoded = [component.decode() for component in result.outcomes]
        assert np.mean([component.mean() for component in decoded]) == pytest.approx(result.value, abs=5e-4)
    accuracy = report.results[0]
    right = round(accuracy.value * accuracy.samples)
    assert (accuracy.interval.low, accuracy.interval.high) == clopper_pearson(right, accuracy.samples)
    assert [len(result.outcomes) for result in report.results] == [1, 4, 1]


def test_finished_tasks_are_taken_over(
    report: EvaluationReport, competition: Competition, golden_recipe: ClipRecipe, golden_model: Path, root: Path
) -> None:
    new: list[TaskResult] = []
    again = evaluate_suite(
        golden_model,
        competition,
        golden_recipe,
        root,
        done=[report.results[0], report.results[2]],
        on_result=new.append,
        device=CPU,
    )
    assert [result.task for result in new] == ["digits4"]
    values = [(result.task, result.value, result.interval) for result in report.results]
    assert [(result.task, result.value, result.interval) for result in again.results] == values


def test_single_tasks_can_be_run_and_unknown_ones_are_named(
    competition: Competition, golden_recipe: ClipRecipe, golden_model: Path, root: Path
) -> None:
    report = evaluate_suite(golden_model, competition, golden_recipe, root, only=["digits4"], device=CPU)
    assert [result.task for result in report.results] == ["digits4"]
    with pytest.raises(UsageError, match="no task 'imagenet'"):
        evaluate_suite(golden_model, competition, golden_recipe, root, only=["imagenet"], device=CPU)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (make_task("digits10", "acc1", dataset="absent"), "'absent' of task 'digits10' is not in"),
        (make_task("digits10", "acc1", samples=300), "has 354 images instead of 300"),
        (make_task("digits4", "acc5"), "'acc5' of task 'digits4' is not defined"),
    ],
)
def test_tasks_that_cannot_be_scored_are_errors_and_never_zero(
    golden_recipe: ClipRecipe, golden_model: Path, root: Path, task: Task, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate_suite(golden_model, make_competition(golden_recipe, task), golden_recipe, root, device=CPU)


def test_a_task_may_leave_out_how_many_images_its_set_has(
    golden_recipe: ClipRecipe, golden_model: Path, root: Path
) -> None:
    task = make_task("digits4", "acc1").model_copy(update={"samples": None})
    report = evaluate_suite(golden_model, make_competition(golden_recipe, task), golden_recipe, root, device=CPU)
    assert report.results[0].samples > 0
