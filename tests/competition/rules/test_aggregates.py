"""Aggregates: DataComp's published averages, and what every rule must hold."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from competition.rules import Suite, all_suites
from competition.rules.aggregates import (
    AggregateValue,
    aggregate_replicates,
    aggregate_value,
    aggregate_values,
    average_ranks,
    less_is_better,
)

SELECT = all_suites()["select@1"]
DATACOMP = all_suites()["datacomp-38@1"]
RULES = {aggregate.id: aggregate for suite in (SELECT, DATACOMP) for aggregate in suite.aggregates}

shares = st.integers(min_value=0, max_value=1000).map(lambda number: number / 1000)
"""With few enough values that ties are common."""


def entries_of(suite: Suite) -> st.SearchStrategy[dict[str, float]]:
    return st.fixed_dictionaries({task.id: shares for task in suite.tasks})


def value_of(suite: Suite, name: str, values: dict[str, float]) -> float:
    found = aggregate_value(suite, RULES[name], values).value
    assert found is not None
    return found


def test_the_averages_of_the_published_models(golden: Path) -> None:
    """The mean of 38 columns that are rounded to 4 decimals lies within 5e-5 of the mean of the unrounded ones.

    The published average is rounded, too, so that both may differ by 1e-4 at most. Three rows differ by more than the
    rounding of the average alone explains, each by 5.3e-5: the means of their rounded columns lie just above the
    middle between two averages of four decimals (0.61735.., 0.47605.., 0.11085..), and the unrounded ones just below.
    """
    with (golden / "reference_results" / "openclip_results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 121
    differing = {}
    for row in rows:
        exact = [Fraction(row[task.title]) for task in DATACOMP.tasks]
        found = value_of(DATACOMP, "average", {task.id: float(row[task.title]) for task in DATACOMP.tasks})
        assert found == pytest.approx(float(sum(exact) / 38), abs=1e-12)
        difference = abs(sum(exact) / 38 - Fraction(row["Average perf. on 38 datasets"]))
        assert difference <= Fraction(1, 10_000)
        if difference > Fraction(1, 20_000):
            differing[row["name"], row["pretrained"]] = round(float(difference), 6)
    assert differing == {
        ("ViT-L-14", "openai"): 5.3e-05,
        ("ViT-B-16", "commonpool_l_text_s1b_b8k"): 5.3e-05,
        ("coca_ViT-B-32", "mscoco_finetuned_laion2b_s13b_b90k"): 5.3e-05,
    }


def test_selects_transfer_means_and_its_baseline(golden: Path) -> None:
    expected = json.loads((golden / "select_stats" / "expected_vtab.json").read_text())["in1000.pth.tar.txt"]
    values = {f"published-{name}": value for name, value in expected["tasks"].items()}
    means = expected["aggregate"]
    assert value_of(SELECT, "transfer-published", values) == pytest.approx(means["mean_11"], abs=1e-12)
    assert value_of(SELECT, "transfer-published-10", values) == pytest.approx(
        means["mean_10_without_lfwpeople"], abs=1e-12
    )
    # The baseline's scores in the suite have four decimals; Country211's is 0.0111, which is 0.2 % of it.
    assert value_of(SELECT, "relative-transfer", values) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("suite", all_suites().values(), ids=lambda suite: suite.reference)
def test_a_missing_task_makes_it_not_available_and_is_named(suite: Suite) -> None:
    whole = dict.fromkeys((task.id for task in suite.tasks), 0.5)
    assert all(found.missing == () for found in aggregate_values(suite, whole))
    gone = suite.tasks[0].id
    partial = {task: value for task, value in whole.items() if task != gone}
    for aggregate, found in zip(suite.aggregates, aggregate_values(suite, partial), strict=True):
        assert found.aggregate == aggregate.id
        if gone in aggregate.tasks:
            assert found == AggregateValue(aggregate.id, None, (gone,))
            assert found.note == f"not available: no result of {gone}"
        elif aggregate.rule.kind != "average_rank":
            assert found.value is not None
            assert found.note == ""


def test_zero_is_a_value_and_not_a_missing_one() -> None:
    assert value_of(DATACOMP, "average", dict.fromkeys((task.id for task in DATACOMP.tasks), 0.0)) == 0.0


@given(entries_of(DATACOMP))
def test_chance_centred_is_0_for_guessing_and_1_for_perfection(values: dict[str, float]) -> None:
    chances = {task.id: task.chance or 0.0 for task in DATACOMP.tasks}
    assert value_of(DATACOMP, "chance-centred", chances) == pytest.approx(0.0, abs=1e-12)
    assert value_of(DATACOMP, "chance-centred", dict.fromkeys(values, 1.0)) == pytest.approx(1.0)
    tasks = RULES["chance-centred"].tasks
    by_hand = fmean((values[task] - chances[task]) / (1 - chances[task]) for task in tasks)
    assert value_of(DATACOMP, "chance-centred", values) == pytest.approx(by_hand)


@given(entries_of(SELECT))
def test_a_group_counts_as_one_however_many_tasks_it_has(values: dict[str, float]) -> None:
    axes = [
        value_of(SELECT, name, values)
        for name in ("base", "natural-shift", "synthetic-shift", "transfer", "neighbours")
    ]
    assert value_of(SELECT, "utility", values) == pytest.approx(fmean(axes))


@given(entries_of(SELECT))
def test_relative_is_the_mean_of_ratios(values: dict[str, float]) -> None:
    assert value_of(SELECT, "relative-base", values) == pytest.approx(values["imagenet-1k"] / 0.7799)


@given(st.lists(entries_of(SELECT), min_size=1, max_size=6))
def test_average_ranks_are_scipys_and_do_not_depend_on_the_order(entries: list[dict[str, float]]) -> None:
    rule = RULES["average-rank"]
    found = [value.value for value in average_ranks(SELECT, rule, entries)]
    table = [rankdata([-entry[task] for entry in entries], method="average") for task in rule.tasks]
    assert found == pytest.approx([fmean(column) for column in zip(*table, strict=True)])
    backwards = [value.value for value in average_ranks(SELECT, rule, entries[::-1])]
    assert backwards[::-1] == pytest.approx(found)


def test_average_rank_of_distances_and_of_entries_that_lack_a_task() -> None:
    suite = all_suites()["genbench@1"]
    fid = next(aggregate for aggregate in suite.aggregates if aggregate.id == "fid")
    near, far = dict.fromkeys(fid.tasks, 1.0), dict.fromkeys(fid.tasks, 2.0)
    lacking = {task: value for task, value in near.items() if task != fid.tasks[3]}
    found = average_ranks(suite, fid, [far, lacking, near])
    assert [value.value for value in found] == [2.0, None, 1.0]
    assert found[1].missing == (fid.tasks[3],)
    assert average_ranks(suite, fid, []) == ()


def test_an_average_rank_needs_all_entries() -> None:
    whole = dict.fromkeys((task.id for task in SELECT.tasks), 0.5)
    found = aggregate_value(SELECT, RULES["average-rank"], whole)
    assert found.value is None
    assert found.note == "not available: made from the ranks among all entries"


@pytest.mark.parametrize("suite", [SELECT, DATACOMP, all_suites()["genbench@1"]], ids=lambda suite: suite.reference)
def test_replicates_of_an_aggregate_follow_its_rule_one_by_one(suite: Suite) -> None:
    generator = np.random.default_rng(0)
    drawn = {task.id: generator.random(5) for task in suite.tasks}
    for aggregate in suite.aggregates:
        found = aggregate_replicates(suite, aggregate, drawn)
        if aggregate.rule.kind == "average_rank":
            assert found is None
            continue
        assert found is not None
        for place, replicate in enumerate(found):
            values = {task: float(parts[place]) for task, parts in drawn.items()}
            assert replicate == pytest.approx(aggregate_value(suite, aggregate, values).value)
        bare = {task: parts for task, parts in drawn.items() if task != aggregate.tasks[-1]}
        assert aggregate_replicates(suite, aggregate, bare) is None, "one task without replicates leaves none"


def test_the_direction_of_an_aggregate_is_that_of_its_tasks_and_the_first_rank_is_the_best() -> None:
    genbench = all_suites()["genbench@1"]
    directions = {each.id: less_is_better(genbench, each) for each in genbench.aggregates}
    assert directions["fid"]
    assert not directions["probe"]
    assert less_is_better(SELECT, RULES["average-rank"])
    assert not less_is_better(SELECT, RULES["relative-base"])
    assert not less_is_better(DATACOMP, RULES["chance-centred"])
