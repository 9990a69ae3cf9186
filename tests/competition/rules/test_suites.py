"""Suites: digests on record, facts of the originals, and files that say where they are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from competition.canonical import canonical_json
from competition.errors import RulesError, UsageError
from competition.evalsets.preparing.recipes import RECIPES
from competition.rules import (
    Aggregate,
    EntryKind,
    Protocol,
    Suite,
    Task,
    Track,
    all_suites,
    built_in,
    find_competition,
    find_suite,
    unsupported,
)
from competition.rules.files import load_suite
from competition.rules.protocols import LESS_IS_BETTER, METRICS, SETTINGS, UNBOUNDED
from competition.rules.suites import AverageRank
from tests.conftest import ROOT

RECORD = ROOT / "tests" / "data" / "suites" / "digests.json"
SUITES = all_suites()
FILES = sorted((ROOT / "competition" / "catalog" / "suites").glob("*.yaml"))
TASK: dict[str, Any] = {
    "id": "first",
    "title": "First",
    "protocol": "zeroshot_classification",
    "dataset": "first",
    "metric": "acc1",
}


def suite(*tasks: dict[str, Any], **aggregate: Any) -> Suite:
    names = tuple(task["id"] for task in tasks)
    values = {"id": "all", "title": "All", "tasks": names, **aggregate}
    return Suite.model_validate({"id": "s", "version": 1, "tasks": tasks, "aggregates": [values], "primary": "all"})


def refusal(*tasks: dict[str, Any], **aggregate: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        suite(*tasks, **aggregate)
    return str(caught.value)


def test_the_digests_are_those_on_record() -> None:
    found = {
        "suites": {reference: found.digest for reference, found in SUITES.items()},
        "competitions": {name: find_competition(name).digest for name in built_in()},
    }
    assert found == json.loads(RECORD.read_text()), (
        f"A suite or competition that changed needs a new version: results are compared by its digest. "
        f"The digest of a new one goes into {RECORD.relative_to(ROOT)}."
    )


def test_every_file_is_a_suite_of_the_catalogue() -> None:
    assert [path.stem for path in FILES] == sorted(set(SUITES) - {"digits@1"})
    for path in FILES:
        assert load_suite(path) == SUITES[path.stem]


@pytest.mark.parametrize("reference", SUITES)
def test_a_suite_survives_a_round_trip(reference: str) -> None:
    again = Suite.model_validate(json.loads(canonical_json(SUITES[reference].model_dump(mode="json"))))
    assert again == SUITES[reference]
    assert again.digest == SUITES[reference].digest


def test_fields_of_today_are_not_in_the_canonical_form_of_suites_without_them() -> None:
    """What digits@1 was digested as before tasks had more fields, and aggregates a rule."""
    dumped = SUITES["digits@1"].model_dump(mode="json")
    assert set(dumped) == {"id", "version", "tasks", "aggregates", "primary"}
    first = "id title description protocol dataset metric samples chance hidden revealed group licence"
    assert all(set(task) == set(first.split()) for task in dumped["tasks"])
    assert all(set(aggregate) == {"id", "title", "tasks"} for aggregate in dumped["aggregates"])


@pytest.mark.parametrize(
    "given",
    [{"reference_seconds": 2.0}, {"unreadable_tolerance": 0.1}, {"revision": "main"}, {"samples": 7}, {"chance": 0.5}],
)
def test_every_given_field_is_part_of_the_digest(given: dict[str, Any]) -> None:
    assert suite({**TASK, **given}).digest != suite(TASK).digest
    assert suite({**TASK, "unreadable_tolerance": 0.0}).digest == suite(TASK).digest
    assert (
        suite({**TASK, "chance": 0.5}, rule={"kind": "chance_centred"}).digest != suite({**TASK, "chance": 0.5}).digest
    )
    assert suite(TASK, rule={"kind": "mean"}).digest == suite(TASK).digest
    assert suite(TASK).model_copy(update={"title": "S", "description": "Words."}).digest == suite(TASK).digest


def test_every_protocol_has_metrics_and_known_settings() -> None:
    assert set(METRICS) == set(Protocol)
    assert all(len(set(names)) == len(names) > 0 for names in METRICS.values())
    assert set(SETTINGS) <= set(Protocol)
    assert {metric for names in METRICS.values() for metric in names} >= LESS_IS_BETTER
    for protocol, names in METRICS.items():
        for metric in names:
            Task.model_validate({**TASK, "protocol": protocol, "metric": metric})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metric": "fid"}, "zeroshot_classification has no fid; it has acc1, acc5, mean_per_class_recall"),
        ({"settings": {"k": 5}}, "zeroshot_classification has no setting 'k'; it has part"),
        ({"protocol": "wilds_camelyon17", "settings": {"k": 5}}, "wilds_camelyon17 has no setting 'k'; it has nothing"),
        ({"settings": {"part": "train"}}, "'train' is not defined"),
        ({"protocol": "classification", "settings": {"resize": 256}}, "goes with a `size`"),
        ({"protocol": "classification", "settings": {"interpolation": "bilinear"}}, "goes with a `size`"),
        ({"protocol": "classification", "settings": {"size": 224, "resize": 192}}, "must not be less than the size"),
        ({"protocol": "classification", "settings": {"size": 224, "interpolation": "nearest"}}, "'nearest' is not"),
        ({"protocol": "classification_objectnet", "settings": {"resize": 256}}, "it has interpolation, size"),
        ({"protocol": "linear_probe", "settings": {"train": "set"}}, "'set' is not defined"),
        (
            {"protocol": "classification_of_subset", "metric": "aupr", "settings": {"part": "val"}},
            "aupr tells the images of `test` from those of `val`",
        ),
        ({"protocol": "cler", "metric": "centres", "settings": {"measure": "f1"}}, "'f1' is not defined"),
        ({"protocol": "knn_select", "metric": "acc1@10", "settings": {"support_per_class": 0}}, "whole number above 0"),
        ({"protocol": "semi_supervised", "settings": {"label_share": 1.5}}, "share above 0 and at most 1"),
        ({"protocol": "telepathy"}, "'zeroshot_classification'"),
        ({"unreadable_tolerance": 1.5}, "less than or equal to 1"),
        ({"reference_seconds": 0}, "greater than 0"),
        ({"samples": 0}, "greater than 0"),
        ({"revision": "a b"}, "should match pattern"),
    ],
)
def test_a_task_that_cannot_be_scored_so_is_refused(change: dict[str, Any], says: str) -> None:
    assert says in refusal({**TASK, **change})


def test_an_aggregate_that_means_nothing_is_refused() -> None:
    distance = {**TASK, "id": "far", "protocol": "dataset_metrics", "metric": "fid"}
    assert "mixes metrics" in refusal(TASK, distance)
    assert "'first' has no chance level below 1" in refusal(TASK, rule={"kind": "chance_centred"})
    relative = {"kind": "relative_to_baseline", "baseline": "Old"}
    assert "'first' has no score of the baseline" in refusal(TASK, rule={**relative, "scores": {}})
    wrong = {"first": 0.5, "other": 0.5}
    assert "'other' is no task of the aggregate" in refusal(TASK, rule={**relative, "scores": wrong})
    assert "greater than 0" in refusal(TASK, rule={**relative, "scores": {"first": 0.0}})
    assert suite(TASK, distance, rule={"kind": "average_rank"}).primary_aggregate.rule.kind == "average_rank"


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


BASE = f"""schema_version: 1
id: base
version: 1
tasks:
  - {json.dumps(TASK)}
  - {json.dumps({**TASK, "id": "second"})}
aggregates:
  - {{id: all, title: All, tasks: [first, second]}}
primary: all
"""
PART = """schema_version: 1
extends: base@1
id: part
version: 2
tasks:
  - second
aggregates:
  - {id: all, title: All, tasks: [second]}
primary: all
"""


def test_a_suite_may_take_tasks_of_another_one(tmp_path: Path) -> None:
    base = load_suite(_file(tmp_path, "base@1", BASE))
    part = load_suite(_file(tmp_path, "part@2", PART))
    assert part.tasks == (base.task("second"),)
    written = PART.replace("extends: base@1\n", "").replace("- second", f"- {json.dumps({**TASK, 'id': 'second'})}")
    assert load_suite(_file(tmp_path, "part@2", written)).digest == part.digest


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("- second", "- third", "line 6: tasks.0: 'third' is no task of base@1; it has first, second"),
        (
            "extends: base@1",
            "extends: base@9",
            "line 2: extends: 'base@9' is no suite beside this one; there are base@1",
        ),
        ("extends: base@1", "extends: ../x", "line 2: extends: '../x' is no suite beside this one"),
        ("extends: base@1", "extends: part@2", "line 2: extends: 'part@2' is no suite beside this one"),
        ("extends: base@1", "extends: [1]", "line 2: extends: '[1]' is no suite"),
        ("version: 2", "version: 3", "holds suite part@3, and must be called part@3.yaml"),
        ("tasks: [second]", "tasks: [first]", "line 8: aggregates.0.tasks.0: 'first' is not defined"),
        ("extends: base@1\n", "", "line 5: tasks.0: Input should be a valid dictionary"),
        ("primary: all", "primary: all\nsecret: 1", "line 10: secret: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, old: str, new: str, says: str) -> None:
    _file(tmp_path, "base@1", BASE)
    with pytest.raises(RulesError) as caught:
        load_suite(_file(tmp_path, "part@2", PART.replace(old, new)))
    assert says in caught.value.message


def test_a_suite_that_extends_is_not_extended(tmp_path: Path) -> None:
    _file(tmp_path, "base@1", BASE)
    _file(tmp_path, "part@2", PART)
    chained = PART.replace("id: part", "id: chain").replace("extends: base@1", "extends: part@2")
    with pytest.raises(RulesError, match=r"line 2: extends: part@2 extends another suite itself"):
        load_suite(_file(tmp_path, "chain@2", chained))


def test_finding_suites() -> None:
    assert find_suite("datacomp-38") is find_suite("datacomp-38@1") is find_competition("datacomp").suite
    with pytest.raises(UsageError) as caught:
        find_suite("datacomp-99")
    assert "datacomp-38@1" in caught.value.hint


def test_datacomps_suites_are_its_tasklist() -> None:
    """Totals of the original's list, and which of its sets belong to which mean."""
    every = SUITES["datacomp-40@1"]
    assert sum(task.samples or 0 for task in every.tasks) == 732_026
    assert sum(task.reference_seconds or 0 for task in every.tasks) == 5190
    published, corrected, clean = (SUITES[f"datacomp-{name}@1"] for name in ("38", "38-corrected", "33-clean"))
    ids = {name: {task.id for task in found.tasks} for name, found in SUITES.items()}
    assert ids["datacomp-40@1"] - ids["datacomp-38@1"] == {"fairface", "utkface"}
    assert ids["datacomp-38@1"] == ids["datacomp-38-corrected@1"]
    assert len(ids["datacomp-33-clean@1"]) == 33
    for found in (published, corrected, clean):
        assert set(found.primary_aggregate.tasks) == {task.id for task in found.tasks}
    assert every.primary_aggregate.tasks == published.primary_aggregate.tasks
    assert {aggregate.id: len(aggregate.tasks) for aggregate in published.aggregates} == {
        "average": 38,
        "imagenet": 1,
        "imagenet-shifts": 6,
        "vtab": 13,
        "retrieval": 3,
        "chance-centred": 34,
    }
    assert published.task("fmow").protocol is Protocol.WILDS_FMOW_DATACOMP
    assert corrected.task("fmow").protocol is Protocol.WILDS_FMOW
    assert [a for a, b in zip(published.tasks, corrected.tasks, strict=True) if a != b] == [published.task("fmow")]


def test_the_other_suites_have_the_originals_sets() -> None:
    groups: dict[str, dict[str, int]] = {}
    for reference in ("select@1", "simcore@1", "genbench@1", "imagenetv2@1"):
        groups[reference] = {}
        for task in SUITES[reference].tasks:
            groups[reference][task.group] = groups[reference].get(task.group, 0) + 1
    assert groups["select@1"] == {
        "base": 1,
        "natural-shift": 5,
        "synthetic-shift": 2,
        "transfer": 10,
        "transfer-published": 11,
        "neighbours": 2,
        "statistics": 3,
    }
    assert groups["simcore@1"] == {"linear": 11, "neighbours": 9, "few-labels": 11}
    assert set(groups["genbench@1"].values()) == {22}
    assert groups["imagenetv2@1"] == {"top1": 4, "top5": 4}
    per_class = {task.id for task in SUITES["simcore@1"].tasks if task.metric == "mean_per_class_recall"}
    assert {name.removeprefix("linear-") for name in per_class if name.startswith("linear-")} == {
        "aircraft",
        "pet",
        "flowers",
        "indoor",
    }


def test_chance_is_a_guess_of_one_class_of_the_set() -> None:
    """Classes as the recipes that make the sets have them; ImageNet's 1,000, or the 200 that -A and -R have of them."""
    classes = {recipe.name: recipe.classes for recipe in RECIPES}
    classes |= dict.fromkeys(("wds_imagenet1k_test", "wds_imagenetv2_test", "wds_imagenet_sketch_test"), 1000)
    classes |= dict.fromkeys(("wds_imagenet-a_test", "wds_imagenet-r_test"), 200)
    without = set()
    for reference in ("select@1", "simcore@1", "genbench@1", "imagenetv2@1"):
        for task in SUITES[reference].tasks:
            measure = str(task.settings.get("measure", task.metric)).partition("@")[0]
            if task.chance is None:
                without.add(task.metric if measure != "map11" else measure)
            elif measure == "auc":
                assert task.chance == 0.5
            else:
                guesses = {"acc1": 1, "mean_per_class_recall": 1, "acc5": 5}[measure]
                assert task.chance == pytest.approx(guesses / classes[task.dataset], abs=5e-7), task.id
    assert without == {
        *("fid", "proxy_a_distance", "clip_score", "map11"),
        *("coverage_classes", "long_tail@500", "large_share@5"),
        "acc1",  # ObjectNet: a guess is one of 1,000 outputs, and its files say how many of them are right
    }
    (guessed,) = (task for task in SUITES["select@1"].tasks if task.metric == "acc1" and task.chance is None)
    assert guessed.id == "objectnet"


def test_suites_are_set_up_as_their_originals() -> None:
    genbench, select = SUITES["genbench@1"], SUITES["select@1"]
    trained = {task.group: task.settings.get("train") for task in genbench.tasks}
    assert trained["probe"] == "entry"
    assert all(task.needs_images for task in genbench.tasks)
    assert all(task.settings["train"] == "entry" for task in genbench.tasks if task.group == "probe")
    cut = {"size": 224, "resize": 256, "interpolation": "bilinear"}
    for task in select.tasks:
        if task.group in {"base", "natural-shift", "synthetic-shift"}:
            uncut = task.id in {"objectnet", "imagenet-c", "stylized-imagenet"}  # published at 224 pixels, or squares
            assert task.settings == ({name: cut[name] for name in ("size", "interpolation")} if uncut else cut)
    assert select.task("published-eurosat").samples == 5400


def test_what_is_not_supported_is_said() -> None:
    assert unsupported(find_competition("digits")) == ()
    select = " ".join(unsupported(find_competition("select")))
    for part in ("a supervised model is trained", "there is no pool", "tasks about an entry's images"):
        assert part in select
    assert "a selfsupervised model is trained" in " ".join(unsupported(find_competition("simcore")))
    generalization = find_competition("generalization")
    assert unsupported(generalization) == (), "nothing is trained, and its entries hold no model"
    of_models = Track(id="predictions", title="Predictions", entry=EntryKind.MODEL)
    assert "nothing is trained" in " ".join(unsupported(generalization.model_copy(update={"tracks": (of_models,)})))
    average = find_competition("digits").suite
    ranked = average.model_copy(
        update={
            "aggregates": (
                Aggregate(id="average", title="A", tasks=("digits-test",), rule=AverageRank(kind="average_rank")),
            )
        }
    )
    assert unsupported(find_competition("digits").model_copy(update={"suite": ranked})) == (), "any rule ranks"


def test_metrics_that_are_no_shares_are_metrics_of_some_protocol() -> None:
    assert {metric for offered in METRICS.values() for metric in offered} > UNBOUNDED
    assert LESS_IS_BETTER <= UNBOUNDED, "of a share more is better"
    assert not {"acc1", "mean_per_class_recall", "F1-macro_all", "jaccard_score", "mean_recall@1"} & UNBOUNDED
    assert not {"precision", "recall", "coverage", "clip_iqa"} & UNBOUNDED, "these are shares of images"
