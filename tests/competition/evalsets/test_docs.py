"""The page about evaluation sets is true: its commands run, and it names every format, finding and set."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from competition.evalsets.preparing.recipes import RECIPES, Format, Kind
from competition.evalsets.verify import Finding
from competition.rules.references import CATALOG
from tests.competition.evalsets.digits_folders import Pen, dtd
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import typed

TEXT = (ROOT / "docs" / "evaluation-sets.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATACUP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    dtd(tmp_path / "data", Pen())
    commands = re.findall(r"^\$ datacup (evalsets .*)$", TEXT, flags=re.MULTILINE)
    assert len(commands) == 5
    (tmp_path / "my-competition.yaml").write_text((CATALOG / "digits" / "competition.yaml").read_text())
    for command in commands:
        words = shlex.split(command) + (["--any-size"] if "prepare" in command else [])
        result = typed(*words)
        assert result.code == 0, result.err


def test_the_page_names_every_format_finding_and_set() -> None:
    assert [kind.value for kind in Format if f"`{kind.value}`" not in TEXT] == []
    assert re.findall(r"^\| `(\w+)` \| [a-z]", TEXT, flags=re.MULTILINE)[: len(Finding)] == [
        "sound",
        "missing",
        "different",
        "malformed",
        "unrecorded",
    ]
    rows = {row.split("|")[1].strip().strip("`"): row for row in TEXT.splitlines() if row.startswith("| `")}
    for recipe in RECIPES:
        system, _, short = recipe.name.partition("-")
        if recipe.format is Format.TORCHVISION and system != "select":
            assert f"`{short}`" in rows["torchvision"], recipe.name
        elif system == "simcore" or (recipe.kind is not Kind.CLASSES and system != "genbench"):
            assert f"`{short if system == 'simcore' else recipe.name}`" in TEXT, recipe.name
