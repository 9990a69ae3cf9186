"""``datacup recipe`` says what a training is and in what two differ, without the libraries that train."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from competition.rules import all_recipes
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import refused, typed

HEAVY = {"torch", "timm", "open_clip", "torchvision", "polars", "pyarrow", "sklearn"}


def test_the_list_has_every_recipe_with_its_steps() -> None:
    listed = json.loads(typed("recipe", "list", "--json").out)
    assert {entry["id"]: entry["digest"] for entry in listed} == {
        recipe_id: recipe.digest for recipe_id, (_, recipe) in all_recipes().items()
    }
    entries = {entry["id"]: entry for entry in listed}
    assert entries["datacomp-small"]["steps"] == 3125
    assert entries["datacomp-small"]["samples_seen"] == 12_800_000
    assert entries["datacomp-small-original"]["samples_seen"] == 3140 * 4096
    assert entries["select-resnet50"]["steps"] is None
    shown = typed("recipe", "list").out
    assert all(re.search(rf"\b{re.escape(recipe_id)}\b", shown) for recipe_id in entries)


def test_show_has_every_number_with_its_source() -> None:
    (_, recipe) = all_recipes()["simcore-dino-vit-tiny"]
    result = typed("recipe", "show", recipe.id, "--json")
    shown = json.loads(result.out)
    assert shown["digest"] == recipe.digest
    assert {name: entry["value"] for name, entry in shown["parameters"].items()} == recipe.parameters()
    assert all(entry["source"] == recipe.source(name) for name, entry in shown["parameters"].items())
    lines = dict(line.split(maxsplit=1) for line in typed("recipe", "show", recipe.id).out.splitlines())
    assert set(recipe.parameters()) < set(lines)
    assert lines["digest"] == recipe.digest
    assert lines["steps"] == "depends on the data"
    assert re.fullmatch(r"0\.4 +DINO code; .*", lines["optimizer.weight_decay_end"])


def test_show_counts_steps_and_samples_seen() -> None:
    shown = typed("recipe", "show", "datacomp-xlarge").out
    assert re.search(r"^steps +142,045$", shown, re.MULTILINE)
    assert re.search(r"^samples seen +12,799,959,040$", shown, re.MULTILINE)
    assert re.search(r"^order\.kind +permutation +DataCup: ", shown, re.MULTILINE)


def test_diff_has_the_differing_numbers_alone() -> None:
    result = json.loads(typed("recipe", "diff", "datacomp-xlarge", "datacomp-xlarge-original", "--json").out)
    assert result["parameters"] == {
        "corrupt_tolerance": {"a": 0.01, "b": 1.0},
        "order.buffer": {"b": 5000},
        "order.initial": {"b": 1000},
        "order.kind": {"a": "permutation", "b": "shards_with_replacement"},
        "order.ranks": {"b": 512},
        "order.streams": {"b": 2048},
        "order.window": {"a": 4194304},
        "precision": {"a": "amp_bf16", "b": "amp_fp16"},
        "step_count.epochs": {"b": 5},
        "step_count.kind": {"a": "whole_batches", "b": "per_worker_epochs"},
        "step_count.workers": {"b": 4},
    }
    assert result["equal"] is False
    shown = typed("recipe", "diff", "select-resnet50", "select-resnet50-oi1000").out
    assert re.search(r"budget\.epochs\W+600\W+50\W", shown)
    assert "learning_rate" not in shown


def test_diff_of_two_kinds_says_so() -> None:
    result = json.loads(typed("recipe", "diff", "datacomp-small", "select-resnet50", "--json").out)
    assert result["parameters"]["kind"] == {"a": "clip", "b": "supervised"}
    assert result["parameters"]["optimizer.momentum"] == {"b": 0.9}


def test_diff_says_when_nothing_differs() -> None:
    assert typed("recipe", "diff", "datacomp-small", "datacomp-small").out == "Both are datacomp-small.\n"
    result = json.loads(typed("recipe", "diff", "datacomp-small", "datacomp-small", "--json").out)
    assert result["equal"] is True
    assert result["parameters"] == {}


def test_recipes_of_an_own_competition(tmp_path: Path) -> None:
    text = (ROOT / "competition" / "catalog" / "digits" / "competition.yaml").read_text(encoding="utf-8")
    own = tmp_path / "own.yaml"
    own.write_text(
        text.replace("id: digits\n", "id: own\n", 1).replace("samples_seen: 96000", "samples_seen: 24000"),
        encoding="utf-8",
    )
    listed = json.loads(typed("recipe", "list", "--competition", own, "--json").out)
    assert [(entry["id"], entry["competition"]) for entry in listed] == [
        ("digits-nano-clip", "own"),
        ("digits-micro-clip", "own"),
    ]
    result = typed("recipe", "diff", "digits-nano-clip", "digits-micro-clip", "--competition", own)
    assert result.out == "digits-nano-clip and digits-micro-clip differ in their ids alone.\n"
    shown = json.loads(typed("recipe", "show", "digits-micro-clip", "--competition", own, "--json").out)
    assert shown["samples_seen"] == 24000


@pytest.mark.parametrize("words", [("show", "datacomp-tiny"), ("diff", "datacomp-small", "datacomp-tiny")])
def test_an_unknown_id_lists_the_ids(words: tuple[str, ...]) -> None:
    result = refused("recipe", *words)
    assert "There is no recipe 'datacomp-tiny'." in result.err
    assert "datacomp-small, datacomp-small-original" in result.err


def test_showing_loads_no_library_that_trains() -> None:
    code = (
        "import sys; from participant_kit.cli import main\n"
        "sys.argv = ['datacup', 'recipe', 'show', 'datacomp-small']\n"
        "try: main()\n"
        f"finally: print('loaded', *sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stderr.strip() == "loaded"
    assert "samples_seen" in result.stdout
