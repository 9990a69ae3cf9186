"""What `datacup evaluate` says of a suite's aggregates: the leaderboard's numbers and intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pytest

from competition.records.evaluation import EvaluationReport, Interval, Outcomes, TaskResult
from competition.rules import Suite
from competition.rules.uncertainty import uncertain_aggregates
from competition.statistics import bootstrap_replicates, percentile_interval
from leaderboard.scoring import results as leaderboard_results
from participant_kit.cli.console import Console
from participant_kit.cli.evaluate import show

RATES = {"one": 0.8, "two": 0.3, "three": 0.55}


def suite(third: str = "acc1") -> Suite:
    task = {"protocol": "zeroshot_classification", "dataset": "set", "title": "T", "metric": "acc1", "chance": 0.1}
    if third == "fid":
        third_task = {"id": "three", "title": "T", "protocol": "dataset_metrics", "dataset": "set", "metric": "fid"}
    else:
        third_task = {**task, "id": "three", "group": "other"}
    first = {"id": "centred", "title": "Centred", "rule": {"kind": "chance_centred"}, "tasks": ["one", "two"]}
    every = {"id": "groups", "title": "Groups", "rule": {"kind": "mean_of_groups"}, "tasks": ["one", "two", "three"]}
    ranks = {"id": "ranks", "title": "Ranks", "rule": {"kind": "average_rank"}, "tasks": ["one", "two"]}
    alone = {"id": "distance", "title": "Distance", "tasks": ["three"]}
    return Suite.model_validate(
        {
            "id": "own",
            "version": 1,
            "tasks": [{**task, "id": "one"}, {**task, "id": "two"}, third_task],
            "aggregates": [first, ranks, alone if third == "fid" else every],
            "primary": "centred",
        }
    )


def outcomes() -> Mapping[str, np.ndarray]:
    generator = np.random.default_rng(4)
    return {name: (generator.random(90) < rate).astype(float) for name, rate in RATES.items()}


def result(name: str, units: np.ndarray | None, metric: str = "acc1") -> TaskResult:
    value = 31.5 if units is None else float(units.mean())
    return TaskResult(
        task=name,
        metric=metric,
        value=value,
        interval=None if units is None else Interval(low=0.0, high=1.0, method="bootstrap"),
        metrics={metric: value},
        samples=90,
        seconds=1.0,
        outcomes=() if units is None else (Outcomes.encode(units),),
    )


def report(asked: Suite, *results: TaskResult) -> EvaluationReport:
    return EvaluationReport(
        suite=asked.reference,
        suite_digest=asked.digest,
        reference_model="timm:resnet50",
        results=results,
        code_version="1",
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def shown(asked: Suite, capsys: pytest.CaptureFixture[str], *results: TaskResult) -> dict[str, dict[str, object]]:
    show(Console(as_json=True), report(asked, *results), asked)
    return {each["id"]: each for each in json.loads(capsys.readouterr().out)["aggregates"]}


def test_intervals_are_of_the_rule_replicate_by_replicate(capsys: pytest.CaptureFixture[str]) -> None:
    asked, units = suite(), outcomes()
    found = shown(asked, capsys, *(result(name, part) for name, part in units.items()))
    drawn = {name: bootstrap_replicates([part], seed_text=asked.digest) for name, part in units.items()}
    centred = (drawn["one"] + drawn["two"] - 0.2) / 1.8
    groups = ((drawn["one"] + drawn["two"]) / 2 + drawn["three"]) / 2
    for name, replicates in (("centred", centred), ("groups", groups)):
        interval = found[name]["interval"]
        assert isinstance(interval, dict)
        assert (interval["low"], interval["high"]) == pytest.approx(percentile_interval(replicates))
        assert (interval["confidence"], interval["method"]) == (0.95, "bootstrap")
        assert found[name]["note"] == ""
    assert (found["ranks"]["value"], found["ranks"]["interval"]) == (None, None)


def test_the_leaderboard_makes_the_same_of_the_report() -> None:
    asked = suite()
    results = [result(name, part) for name, part in outcomes().items()]
    spread = uncertain_aggregates(asked, results)[0].spread
    assert spread is not None
    kept = {each.task: leaderboard_results.replicates_of(each, asked.digest) for each in results}
    both = (kept["one"], kept["two"])
    assert both[0] is not None
    assert both[1] is not None
    np.testing.assert_allclose(spread.replicates, (both[0] + both[1] - 0.2) / 1.8, rtol=1e-12)


def test_without_an_interval_of_a_task_there_is_none_of_the_aggregate(capsys: pytest.CaptureFixture[str]) -> None:
    asked, units = suite("fid"), outcomes()
    results = (result("one", units["one"]), result("two", units["two"]), result("three", None, "fid"))
    found = shown(asked, capsys, *results)
    assert found["centred"]["interval"] is not None
    assert found["distance"] == {"id": "distance", "value": 31.5, "interval": None, "note": ""}


def test_an_aggregate_with_a_missing_task_has_neither(capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(suite(), capsys, result("one", outcomes()["one"]))
    assert found["centred"]["value"] is None
    assert found["centred"]["interval"] is None
    assert "two" in str(found["centred"]["note"])


def test_the_table_has_the_interval_behind_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    asked = suite()
    results = [result(name, part) for name, part in outcomes().items()]
    centred = uncertain_aggregates(asked, results)[0]
    assert centred.found.value is not None
    assert centred.spread is not None
    show(Console(as_json=False), report(asked, *results), asked)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Centred"))
    low, high = centred.spread.low, centred.spread.high
    assert line.split(maxsplit=1)[1] == f"{centred.found.value:.4f} [{low:.4f}, {high:.4f}]"
    assert low < centred.found.value < high
