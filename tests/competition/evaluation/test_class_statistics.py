"""SELECT's class statistics: its published figures to 1e-6, and what they must obey for any counts and answers."""

from __future__ import annotations

import ast
import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, skew

from competition.evaluation.class_statistics import (
    ClassTable,
    class_balance,
    class_scores,
    confusion_skew,
    correlations,
    pearson,
)

SETS = {"in1000": "in1000-stats-complete.csv", "la1000": "la1000-stats-complete.csv"}
READINGS = ("deduplicated_keep_first", "deduplicated_diagonal")


def _rows(path: Path, reading: str) -> list[dict[str, str]]:
    """One row a class: two names occur twice, so that a join by name gave their classes several rows."""
    groups: dict[tuple[str, int], list[dict[str, str]]] = {}
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            rows = groups.setdefault((row["classname"], int(row["index"])), [])
            rows += [row] if row not in rows else []
    seen: dict[str, int] = {}
    chosen: dict[int, dict[str, str]] = {}
    for (name, index), rows in sorted(groups.items(), key=lambda item: item[0][1]):
        position = seen.get(name, 0)
        seen[name] = position + 1
        chosen[index] = rows[min(position, len(rows) - 1) if reading == "deduplicated_diagonal" else 0]
    return [chosen[index] for index in sorted(chosen)]


def _table(rows: list[dict[str, str]]) -> ClassTable:
    def column(name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in rows])

    return ClassTable(
        column("Class Count").astype(np.int64),
        column("accuracy"),
        column("Precision"),
        column("Recall"),
        np.array([confusion_skew(ast.literal_eval(row["most confused scores"])) for row in rows]),
    )


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("name", SETS)
def test_figures_equal_selects(golden: Path, name: str, reading: str) -> None:
    folder = golden / "select_stats"
    expected = json.loads((folder / "expected_class_stats.json").read_text())[name][reading]
    rows = _rows(folder / SETS[name], reading)
    table, reference = _table(rows), _table(_rows(folder / SETS["in1000"], reading))
    balance = class_balance(table.counts)
    assert (balance.classes, balance.samples) == (expected["classes"], expected["total_images"])
    assert (balance.coverage, balance.few) == (expected["coverage_classes"], expected["LT_at_500"])
    assert balance.largest_share == pytest.approx(expected["LS_at_5pct_percent"], abs=1e-6)
    assert (balance.least, balance.median, balance.most) == tuple(
        expected[f"count_{name}"] for name in ("min", "median", "max")
    )
    assert 100 * table.accuracy.mean() == pytest.approx(expected["mean_accuracy_percent"], abs=1e-6)
    assert table.precision.mean() == pytest.approx(expected["macro_precision"], abs=1e-6)
    for abbreviation, value in correlations(table, reference).items():
        assert value == pytest.approx(expected[abbreviation], abs=1e-6), abbreviation
    theirs = np.array([float(row["skewness of normalized confusion scores"]) for row in rows])
    assert np.abs(table.skew - theirs).max() < 1e-6


@settings(deadline=None)
@given(st.lists(st.integers(0, 2000), min_size=1, max_size=60))
def test_balance_of_any_counts(counts: list[int]) -> None:
    balance = class_balance(counts)
    assert balance == class_balance(counts[::-1]), "the order of classes is irrelevant"
    assert balance.samples == sum(counts)
    assert balance.coverage == sum(count > 0 for count in counts)
    assert balance.few == sum(count < 500 for count in counts)
    if balance.samples:
        assert 0 < balance.largest_share <= 100
        assert balance.imbalance >= 1
    else:
        assert balance.largest_share == balance.imbalance == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=80))
def test_class_scores_are_those_of_their_definitions(pairs: list[tuple[int, int]]) -> None:
    scores = class_scores([true for true, _ in pairs], [said for _, said in pairs], 5)
    assert scores.frequency.sum() == pytest.approx(1)
    for number in range(5):
        mine = [said for true, said in pairs if true == number]
        answered = [true for true, said in pairs if said == number]
        assert scores.precision[number] == pytest.approx(answered.count(number) / len(answered) if answered else 0)
        if mine:
            assert scores.recall[number] == pytest.approx(mine.count(number) / len(mine))
            assert scores.balanced[number] == pytest.approx((scores.precision[number] + scores.recall[number]) / 2)
        else:
            assert np.isnan(scores.recall[number])


def test_correlation_and_skew_are_scipys() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 50))
    assert pearson(x, y) == pytest.approx(pearsonr(x, y).statistic)
    assert pearson([*x, np.nan], [*y, 1.0]) == pytest.approx(pearson(x, y)), "a class without a value is left out"
    assert np.isnan(pearson(x, np.ones(50)))
    assert np.isnan(pearson([], []))
    assert confusion_skew(np.abs(x)[:5]) == pytest.approx(skew(np.abs(x)[:5]))
    assert confusion_skew([0.02, 0.0199999999999999]) == confusion_skew([]) == 0


def test_wrong_input_is_refused() -> None:
    for counts in ([], [1, -1]):
        with pytest.raises(ValueError, match="balance"):
            class_balance(counts)
    with pytest.raises(ValueError, match="not in"):
        class_scores([0, 5], [0, 0], 5)
    with pytest.raises(ValueError, match="do not fit"):
        class_scores([0, 1], [0], 5)
