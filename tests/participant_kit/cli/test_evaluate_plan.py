"""``datacup evaluate`` of what is there: the rest is named, results are kept, the exit code says that it is not all."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from competition.errors import EvaluationError, UsageError
from competition.rules import find_suite
from participant_kit.evaluation_plan import plan
from tests.competition.evaluation.entries import spread, write_set
from tests.participant_kit.cli.test_evaluate_entry import COVERAGE, ZEROSHOT, report_of, run, words, write_rules
from tests.participant_kit.cli.typed import refused, typed

__all__ = ["run"]  # the fixture

ABSENT = ZEROSHOT.replace("id: read", "id: absent").replace("dataset: set", "dataset: gone")
SECOND = ZEROSHOT.replace("id: read", "id: second").replace("dataset: set", "dataset: other")


def test_a_missing_set_leaves_its_task_unscored_and_the_exit_code_says_so(run: Path, tmp_path: Path) -> None:
    rules = write_rules(tmp_path, ABSENT, ZEROSHOT)
    result = typed(*words(run, rules))
    assert result.code == EvaluationError.exit_code
    said = " ".join(result.err.split())
    assert f"evaluation sets are not in {tmp_path / 'sets'}: absent (zeroshot_classification, acc1)." in said
    assert f"The results are kept, but evaluation sets are not in {tmp_path / 'sets'}: gone." in said
    assert "read" in result.out
    assert [found.task for found in report_of(run).results] == ["read"]
    command = said[said.index("`datacup evalsets") + 1 :].split("`")[0]
    listed = typed(*shlex.split(command)[1:], "--data-dir", tmp_path / "sets", "--json")
    assert listed.code == 0, listed.err  # the command that it names is one that works, for a file, too
    assert {entry["name"]: entry["state"] for entry in json.loads(listed.out)}["gone"] == "absent"
    write_set(tmp_path / "sets" / "gone", spread(12))
    assert typed(*words(run, rules)).code == 0
    assert [found.task for found in report_of(run).results] == ["absent", "read"]


def test_only_asks_for_no_other_set(run: Path, tmp_path: Path) -> None:
    rules = write_rules(tmp_path, ABSENT, ZEROSHOT)
    result = typed(*words(run, rules, "--only", "read"))
    assert (result.code, "Unscored" in result.err) == (0, False)
    nothing = refused(*words(run, rules, "--only", "absent"))
    assert nothing.code == UsageError.exit_code
    assert "Nothing of task 'absent' can be run, since their evaluation sets are not in" in nothing.err
    assert f"`datacup evalsets list {rules}` says how" in nothing.err
    unknown = refused(*words(run, rules, "--only", "none"))
    assert "has no task 'none'" in unknown.err
    assert "Its tasks are: absent, read." in unknown.err


def test_an_evaluation_that_ended_in_between_goes_on_with_the_next_task(run: Path, tmp_path: Path) -> None:
    """What is on disk after a kill: the first task's result, and no report. The first is not computed again."""
    rules = write_rules(tmp_path, ZEROSHOT, SECOND)
    (tmp_path / "sets" / "other").mkdir()  # no set: the second task fails
    refused(*words(run, rules))
    assert not (run / "evaluation_report.json").exists()
    (kept,) = (run / "evaluation").rglob("*.json")
    assert kept.name == "read.json"
    content = json.loads(kept.read_text())
    kept.write_text(json.dumps(content | {"seconds": 12345.0}))
    shutil.rmtree(tmp_path / "sets" / "other")
    write_set(tmp_path / "sets" / "other", spread(12))
    assert typed(*words(run, rules)).code == 0
    first, second = report_of(run).results
    assert (first.task, first.seconds) == ("read", 12345.0)
    assert second.task == "second"
    assert second.seconds < 12345.0
    assert not (run / "evaluation").exists()


@pytest.mark.parametrize(
    ("suite", "only", "words_"),
    [
        ("imagenetv2", (), "Nothing of suite imagenetv2@1 is about a model"),
        ("select", ("coverage",), "All of task 'coverage' is about the entry's images"),
        ("select", ("coverage", "long-tail"), "All of these tasks is about the entry's images"),
        ("simcore", (), "Nothing of suite simcore@1 can be run, since their evaluation sets are not in"),
        ("select", ("coverage", "transfer-dtd"), "Nothing of these tasks can be run, since "),
    ],
)
def test_what_cannot_be_run_at_all_is_refused(suite: str, only: tuple[str, ...], words_: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as failed:
        plan(find_suite(suite), tmp_path, only=only)
    assert words_ in failed.value.message
    assert failed.value.hint


def test_with_images_and_sets_all_that_was_asked_for_runs_in_the_suites_order(tmp_path: Path) -> None:
    suite = find_suite("select")
    for name in ("wds_imagenet1k_test", "select-dtd"):
        (tmp_path / name).mkdir()
    asked = ("transfer-dtd", "coverage", "objectnet")
    without = plan(suite, tmp_path, only=asked)
    assert (without.runs, without.missing) == (("transfer-dtd",), ("objectnet",))
    assert {each.missing: [task.id for task in each.tasks] for each in without.unscored} == {
        True: ["objectnet"],
        False: ["coverage"],
    }
    order = [task.id for task in suite.tasks if task.id in asked[:2]]
    assert list(plan(suite, tmp_path, only=asked, with_images=True).runs) == order
    assert len(plan(find_suite("digits"), tmp_path).runs) == len(find_suite("digits").tasks)  # made from code


def test_entry_data_without_a_run_is_refused(run: Path, tmp_path: Path) -> None:
    rules = write_rules(tmp_path, COVERAGE)
    asked = ("evaluate", "--model", "timm:resnet18", "--suite", rules, "--entry-data", tmp_path)
    assert "--entry-data goes with a run." in refused(*asked).err
