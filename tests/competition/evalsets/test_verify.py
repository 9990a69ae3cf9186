"""What `evalsets verify` finds, through the kit's and the scorer's command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from competition.evalsets.lock import lock_path, read_lock
from competition.evalsets.sources import sets_of
from competition.evalsets.verify import Finding, verify_sets
from competition.rules import all_suites, find_suite
from tests.competition.evalsets.hub import digits_set
from tests.participant_kit.cli.typed import refused, typed

DATACOMP = find_suite("datacomp-40")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two recorded sets of DataComp's names."""
    for name in ("wds_mnist_test", "wds_cifar10_test"):
        digits_set(tmp_path / name)
    found = verify_sets(sets_of(DATACOMP, ["mnist", "cifar10"]), tmp_path, record=True)
    assert [entry.finding for entry in found] == [Finding.SOUND, Finding.SOUND]
    return tmp_path


def _find(root: Path, *only: str) -> dict[str, Any]:
    return {entry.name: entry for entry in verify_sets(sets_of(DATACOMP, only or None), root)}


def test_every_task_without_its_set_is_named(root: Path) -> None:
    found = _find(root)
    assert len(found) == len({task.dataset for task in DATACOMP.tasks})
    assert {name for name, entry in found.items() if entry.finding is Finding.SOUND} == {
        "wds_mnist_test",
        "wds_cifar10_test",
    }
    result = typed("evalsets", "verify", "datacomp-40", "--data-dir", root, "--json")
    assert result.code == 2
    shown = json.loads(result.out)
    assert shown["sound"] is False
    missing = [task for entry in shown["sets"] if entry["finding"] == "missing" for task in entry["tasks"]]
    assert sorted([*missing, "mnist", "cifar10"]) == sorted(task.id for task in DATACOMP.tasks)


@pytest.mark.parametrize(
    ("damage", "finding", "detail"),
    [
        ("flip", Finding.DIFFERENT, "other bytes: test/1.tar"),
        ("cut", Finding.DIFFERENT, "other bytes: test/1.tar"),
        ("remove text", Finding.DIFFERENT, "missing: classnames.txt"),
        ("add", Finding.DIFFERENT, "not part of it: test/2.tar"),
        ("remove shard", Finding.MALFORMED, "promises 2 shards"),
        ("no number", Finding.MALFORMED, "not a number of shards"),
        ("other lock", Finding.MALFORMED, "lock of another set"),
        ("no lock", Finding.UNRECORDED, ""),
        ("no set", Finding.MISSING, ""),
    ],
)
def test_what_is_wrong_with_a_set_is_found(root: Path, damage: str, finding: Finding, detail: str) -> None:
    folder = root / "wds_mnist_test"
    shard = folder / "test" / "1.tar"
    if damage == "flip":
        content = bytearray(shard.read_bytes())
        content[-2000] ^= 1
        shard.write_bytes(content)
    elif damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-512])
    elif damage == "remove text":
        (folder / "classnames.txt").unlink()
    elif damage == "add":
        shutil.copy(shard, folder / "test" / "2.tar")
    elif damage == "remove shard":
        shard.unlink()
    elif damage == "no number":
        (folder / "test" / "nshards.txt").write_text("two")
    elif damage == "other lock":
        shutil.copy(lock_path(root, "wds_cifar10_test"), lock_path(root, "wds_mnist_test"))
    elif damage == "no lock":
        lock_path(root, "wds_mnist_test").unlink()
    else:
        shutil.rmtree(folder)
    found = _find(root, "mnist", "cifar10")
    assert found["wds_mnist_test"].finding is finding
    assert detail in found["wds_mnist_test"].detail
    assert found["wds_cifar10_test"].finding is Finding.SOUND
    result = typed("evalsets", "verify", "datacomp-40", "--only", "mnist", "--only", "cifar10", "--data-dir", root)
    assert result.code == (3 if finding in {Finding.DIFFERENT, Finding.MALFORMED} else 2)
    assert "Tasks without a sound set: mnist." in result.err


def test_recording_trusts_only_what_has_no_lock(root: Path) -> None:
    shutil.copytree(root / "wds_mnist_test", root / "wds_svhn")
    (root / "wds_svhn").rename(root / "wds_vtab-svhn_test")
    (root / "wds_mnist_test" / "classnames.txt").write_text("changed")
    words = ("evalsets", "verify", "datacomp-40", "--only", "mnist", "--only", "svhn", "--data-dir", root, "--record")
    shown = json.loads(typed(*words, "--json").out)
    findings = {entry["name"]: entry["finding"] for entry in shown["sets"]}
    assert findings == {"wds_mnist_test": "different", "wds_vtab-svhn_test": "sound"}
    lock = read_lock(root, "wds_vtab-svhn_test")
    assert lock is not None
    assert lock.source == "found here"


def test_the_sets_made_from_code_are_made_recorded_and_made_again(tmp_path: Path) -> None:
    words = ("evalsets", "download", "digits", "--data-dir", tmp_path, "--offline", "--json")
    first = json.loads(typed(*words).out)
    assert first["sets"][0]["state"] == "built"
    assert typed("evalsets", "verify", "digits", "--data-dir", tmp_path).code == 0
    (tmp_path / "digits-test" / "classnames.txt").write_text("changed")
    assert typed("evalsets", "verify", "digits", "--data-dir", tmp_path).code == 3
    again = json.loads(typed(*words).out)
    assert [entry["state"] for entry in again["sets"]] == ["built", "kept", "kept", "kept"]
    assert [entry["digest"] for entry in again["sets"]] == [entry["digest"] for entry in first["sets"]]


def test_list_has_the_sets_of_all_suites_and_what_is_here(root: Path) -> None:
    listed = {entry["name"]: entry for entry in json.loads(typed("evalsets", "list", "--data-dir", root, "--json").out)}
    assert set(listed) == {task.dataset for suite in all_suites().values() for task in suite.tasks}
    assert (listed["wds_mnist_test"]["state"], listed["wds_food101_test"]["state"]) == ("here", "absent")
    assert listed["wds_mnist_test"]["bytes"] > 10_000
    assert "datacomp-38@1" in listed["wds_mnist_test"]["suites"]
    shown = typed("evalsets", "list", "simcore", "--data-dir", root).out
    assert "vision.caltech.edu" in shown
    assert "linear-birds" in shown


def test_a_suite_or_task_that_is_not_known_is_one_sentence(tmp_path: Path) -> None:
    assert "There is no suite" in refused("evalsets", "download", "datacomp-39").err
    words = ("evalsets", "download", "digits", "--only", "mnist", "--data-dir", tmp_path)
    assert "has no task 'mnist'" in refused(*words).err


def test_the_scorer_has_the_same_commands(root: Path) -> None:
    def scorer(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DATACUP_EVALUATION": str(root)}
        command = [sys.executable, "-c", "from scorer.cli import main; main()", "evalsets", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    verified = scorer("verify", "datacomp-40", "--only", "mnist", "--json")
    assert verified.returncode == 0, verified.stderr
    kit = typed("evalsets", "verify", "datacomp-40", "--only", "mnist", "--data-dir", root, "--json")
    assert json.loads(verified.stdout) == json.loads(kit.out)
    shown = scorer("list", "datacomp-40")
    assert "wds_mnist_test" in shown.stdout
    unknown = scorer("verify", "nothing")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("Error: There is no suite 'nothing'.")
