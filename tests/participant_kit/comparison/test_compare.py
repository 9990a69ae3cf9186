"""``datacup compare``: paired by image, honest where it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from participant_kit.comparison.paired import compare_reports
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.comparison.made import report, result, right, write

PLACES = (Path("a"), Path("b"))


def test_pairing_tells_apart_what_two_intervals_do_not() -> None:
    """Right about the same 2,000 images but for thirty: unpaired, the two could be any way round."""
    first = right(0.3, 2000, seed=1)
    second = first.copy()
    second[np.flatnonzero(first)[:30]] = 0.0
    (task,) = compare_reports(report(result("t", [first])), report(result("t", [second])), PLACES).tasks
    assert task.difference == pytest.approx(30 / 2000)
    assert task.better == "first"
    assert task.interval is not None
    spread = np.sqrt(0.015 * (1 - 0.015) / 2000)  # of the mean of paired differences
    assert task.interval == pytest.approx((0.015 - 1.96 * spread, 0.015 + 1.96 * spread), abs=0.0015)
    assert task.mcnemar is not None
    assert (task.mcnemar.only_first, task.mcnemar.only_second) == (30, 0)
    assert task.mcnemar.p == pytest.approx(binomtest(30, 30).pvalue)


def test_swapping_the_reports_turns_the_result_round() -> None:
    reports = [report(result("t", [right(0.2, 300, 1, n)]), result("u", [right(0.4, 200, 2, n)])) for n in (1, 2)]
    there, back = compare_reports(*reports, PLACES), compare_reports(*reversed(reports), PLACES)
    for one, other in zip(there.tasks, back.tasks, strict=True):
        assert one.interval is not None
        assert other.interval == pytest.approx((-one.interval[1], -one.interval[0]))
        assert one.mcnemar is not None
        assert other.mcnemar is not None
        assert (one.mcnemar.only_first, one.mcnemar.p) == (other.mcnemar.only_second, other.mcnemar.p)
    assert there.mean is not None
    assert there.mean[0] == pytest.approx(np.mean([task.difference for task in there.tasks]))
    assert there.mean[1][0] < there.mean[0] < there.mean[1][1]


def test_equal_entries_are_told_apart_as_rarely_as_promised() -> None:
    told = 0
    for seed in range(200):
        pair = [report(result("t", [right(0.2, 400, seed, noise)])) for noise in (1, 2)]
        told += compare_reports(*pair, PLACES).tasks[0].better != "neither"
    assert 2 <= told <= 22


def test_fractions_and_classes_have_no_mcnemar_but_an_interval() -> None:
    halves = right(0.2, 50, 3) / 2
    classes = [right(0.2, 20, 4), right(0.1, 30, 5)]
    reports = [report(result("halves", [halves]), result("classes", classes, "mean_per_class_recall"))] * 2
    for task in compare_reports(*reports, PLACES).tasks:  # type: ignore[call-arg]
        assert task.mcnemar is None
        assert task.interval == (0.0, 0.0)
        assert task.better == "neither"


def test_what_cannot_be_paired_is_said(tmp_path: Path) -> None:
    bare = result("bare", [right(0.1, 9, 1)]).model_copy(update={"outcomes": ()})
    a = write(tmp_path / "a", report(result("t", [right(0.2, 50, 1)]), bare, result("mine", [np.ones(3)])))
    b = write(tmp_path / "b", report(result("t", [right(0.2, 40, 1)]), bare, result("its", [np.ones(3)])))
    shown = typed("compare", a, b)
    assert shown.code == 0
    assert "Only in A, and not compared: mine" in shown.err
    assert "Only in B, and not compared: its" in shown.err
    assert "t cannot be paired: the values are of different units." in shown.err
    assert "bare cannot be paired: a report holds no outcomes." in shown.err
    found = json.loads(typed("compare", a, b, "--json").out)
    assert [(task["interval"], task["mcnemar"], task["better"]) for task in found["tasks"]] == [(None, None, "")] * 2
    assert found["mean"] is None
    assert (found["only_first"], found["only_second"]) == (["mine"], ["its"])


def test_groups_of_equal_size_are_not_taken_for_one(tmp_path: Path) -> None:
    """The worst group of each entry: two regions with as many images, and one that is the worst of both."""
    regions = {"a": ("region:1", "region:3"), "b": ("region:2", "region:3")}
    places = []
    for seed, (name, groups) in enumerate(regions.items()):
        found = [
            result(f"t{place}", [right(0.2, 50, seed + 2 * place)], "acc_wg").model_copy(update={"units": units})
            for place, units in enumerate(groups)
        ]
        places.append(write(tmp_path / name, report(*found)))
    shown = typed("compare", *places)
    assert "t0 cannot be paired: the values are of different units (region:1 and region:2)." in shown.err
    assert "t1 cannot be paired" not in shown.err
    apart, same = json.loads(typed("compare", *places, "--json").out)["tasks"]
    assert (apart["interval"], apart["mcnemar"]) == (None, None)
    assert same["interval"] is not None
    assert same["mcnemar"] is not None


def test_of_a_distance_the_smaller_is_better() -> None:
    scores = np.random.default_rng(0).normal(50.0, 1.0, 300)
    reports = [report(result("t", [scores + step], "mce")) for step in (0.0, 5.0)]
    assert compare_reports(reports[0], reports[1], PLACES).tasks[0].better == "first"
    assert compare_reports(reports[1], reports[0], PLACES).tasks[0].better == "second"
    two = [report(result("t", [scores + step], "mce"), result("u", [scores + step], "mce")) for step in (0.0, 5.0)]
    assert compare_reports(two[0], two[1], PLACES).mean_better == "first"
    better = [report(result("t", [scores + step], "clip_score")) for step in (0.0, 5.0)]
    assert compare_reports(better[0], better[1], PLACES).tasks[0].better == "second"


def test_a_mean_of_shares_and_distances_is_left_out(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).normal(30.0, 1.0, 50)
    tasks = [result("t", [right(0.2, 50, 1)]), result("d", [scores], "clip_score")]
    mixed = report(*tasks)
    assert compare_reports(mixed, mixed, PLACES).mean is None
    kinds = report(tasks[1], result("e", [scores], "inception_score"))
    assert compare_reports(kinds, kinds, PLACES).mean is None
    same = report(tasks[1], result("e", [scores], "clip_score"))
    assert compare_reports(same, same, PLACES).mean is not None
    shares = report(tasks[0], result("f", [right(0.2, 50, 1)], "acc5"))
    assert compare_reports(shares, shares, PLACES).mean is not None


def test_a_metric_without_an_interval_is_compared_by_its_value_alone(tmp_path: Path) -> None:
    bare = {"metric": "fid", "interval": None, "outcomes": ()}
    places = [
        write(tmp_path / name, report(result("t", [right(0.2, 50, 1)]).model_copy(update=bare | {"value": value})))
        for name, value in (("a", 12.5), ("b", 200.0))
    ]
    shown = typed("compare", *places)
    assert "t cannot be paired: the metric has no independent units." in shown.err
    assert "-187.5000" in shown.out
    assert "fid (less is better)" in shown.out
    (task,) = json.loads(typed("compare", *places, "--json").out)["tasks"]
    assert (task["interval"], task["better"], task["difference"]) == (None, "", -187.5)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one", report(result("t", [right(0.2, 50, 1)])))
    other = write(tmp_path / "other", report(result("t", [right(0.2, 50, 1)]), suite="d"))
    assert "different suites: digits@1 (aaaaaaaaaaaa) and digits@1 (dddddddddddd)" in refused("compare", one, other).err
    apart = write(tmp_path / "apart", report(result("u", [right(0.2, 50, 1)])))
    assert "no task in common" in refused("compare", one, apart).err
    metric = write(tmp_path / "metric", report(result("t", [right(0.2, 50, 1)], "acc5")))
    assert "'acc1' in one report, 'acc5' in the other" in refused("compare", one, metric).err
    assert "no evaluation report" in refused("compare", one, tmp_path / "nowhere").err
    (tmp_path / "text.json").write_text("{}")
    assert "text.json is not an evaluation report" in refused("compare", one, tmp_path / "text.json").err
    broken = report(result("t", [right(0.2, 50, 1)])).model_dump(mode="json")
    broken["results"][0]["outcomes"][0]["data"] = "AAAA"
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    assert "task 't': outcomes cannot be decoded" in refused("compare", one, tmp_path / "broken.json").err


def test_results_on_two_versions_of_a_set_are_not_paired() -> None:
    """Nor are the means, which have that task's images in them; results that do not say their set are paired."""

    def of(first: str | None, second: str | None) -> tuple[str, bool]:
        reports = [
            report(
                result("t", [right(0.2, 50, 1, noise)]).model_copy(update={"set_digest": digest}),
                result("u", [right(0.2, 50, 2, noise)]),
            )
            for noise, digest in ((1, first), (2, second))
        ]
        found = compare_reports(reports[0], reports[1], PLACES)
        assert found.tasks[1].interval is not None
        assert (found.tasks[0].interval is None) == bool(found.tasks[0].unpaired) == (found.mean is None)
        return found.tasks[0].unpaired, found.mean is not None

    assert of("a" * 64, "b" * 64) == ("the evaluation sets differ: their files have other bytes", False)
    assert of("a" * 64, "a" * 64) == of(None, "b" * 64) == of(None, None) == ("", True)
