"""docs/recipes.md: its commands run as they are written, it names every recipe, and its numbers are the code's."""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatch
from pathlib import Path

from competition.rules import all_recipes, find_recipe
from competition.rules.files import load_recipes
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import typed

TEXT = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ datacup (.*)$", TEXT, flags=re.MULTILINE)


def test_the_commands_of_the_page_run() -> None:
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        result = typed(*shlex.split(command))
        assert result.code == 0, (command, result.err)
        assert result.out


def test_the_table_covers_every_recipe() -> None:
    """Short names in the table's first column go on from the first name of their row."""
    rows = re.findall(r"^\| (`[a-z].*?) \|", TEXT, flags=re.MULTILINE)
    patterns = []
    for row in rows:
        first, *others = re.findall(r"`([^`]+)`", row)
        patterns += [first if first.endswith(("*", "clip", "50", "1000")) else f"{first}*"]
        stem = first.rstrip("-").rsplit("-", 1)[0]
        patterns += [f"{stem}{name}*" if name.startswith("-") else name for name in others]
    assert len(rows) == 11
    named = {recipe_id for recipe_id in all_recipes() for pattern in patterns if fnmatch(recipe_id, pattern)}
    assert sorted(set(all_recipes()) - named) == []
    assert [pattern for pattern in patterns if not any(fnmatch(recipe_id, pattern) for recipe_id in named)] == []


def test_the_example_of_extends_is_the_catalogues(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    file = (ROOT / "competition" / "catalog" / "select" / "recipes.yaml").read_text(encoding="utf-8")
    before = file[: file.index("  - id: select-resnet50-oi1000")]
    path = tmp_path / "recipes.yaml"
    path.write_text(before + "".join(f"  {line}\n" for line in example.splitlines()), encoding="utf-8")
    assert load_recipes(path)[-1].digest == find_recipe("select-resnet50-oi1000")[1].digest


def test_the_numbers_of_the_coreset_rule() -> None:
    """Up to which size the stopping criterion's epochs are those of a fixed size."""
    limit = 25_623
    assert f"{limit:,} samples" in TEXT
    stopped, fixed = find_recipe("simcore-simclr-resnet50")[1], find_recipe("simcore-simclr-resnet50-budget")[1]
    assert stopped.steps_on((1000, limit)) == fixed.steps_on((1000, limit))
    assert stopped.steps_on((1000, limit + 1)) < fixed.steps_on((1000, limit + 1))
