"""``datacup suites`` says what is evaluated, and other commands say what of it they cannot do."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from competition.data.digests import file_sha256
from competition.rules import Recipe, all_recipes, all_suites, find_recipe, find_suite
from competition.rules.protocols import Protocol
from competition.rules.references import CATALOG
from competition.verification.model import expected_tensors
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import refused, typed

TEXT = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
HEAVY = {"torch", "timm", "open_clip", "torchvision", "polars", "pyarrow", "sklearn"}


def test_the_list_has_every_suite_with_its_competition() -> None:
    listed = {entry["suite"]: entry for entry in json.loads(typed("suites", "list", "--json").out)}
    assert {name: entry["digest"] for name, entry in listed.items()} == {
        name: suite.digest for name, suite in all_suites().items()
    }
    assert listed["datacomp-38@1"]["competitions"] == ["datacomp"]
    assert listed["datacomp-40@1"]["competitions"] == []
    assert listed["digits@1"]["tasks"] == 4
    shown = typed("suites", "list").out
    assert all(name in shown for name in listed)


def test_show_has_every_task_and_aggregate() -> None:
    suite = find_suite("genbench")
    shown = json.loads(typed("suites", "show", "genbench", "--json").out)
    assert shown["digest"] == suite.digest
    assert [task["id"] for task in shown["tasks"]] == [task.id for task in suite.tasks]
    result = typed("suites", "show", "select@1")
    for text in (find_suite("select").digest, "knn_select support_per_class=5", "utility (ranks entries)"):
        assert text in result.out
    assert re.search(r"long_tail@500 \(less is\s+better\)", result.out)


def test_the_suite_of_an_own_competition(tmp_path: Path) -> None:
    text = (ROOT / "competition" / "catalog" / "digits" / "competition.yaml").read_text(encoding="utf-8")
    own = tmp_path / "own.yaml"
    own.write_text(text[: text.index("suite:")] + "suite: datacomp-33-clean@1\n\n" + text[text.index("phases:") :])
    shown = json.loads(typed("suites", "show", own, "--json").out)
    assert (shown["id"], shown["digest"]) == ("datacomp-33-clean", find_suite("datacomp-33-clean").digest)


def test_an_unknown_suite_lists_the_suites() -> None:
    result = refused("suites", "show", "datacomp-39")
    assert "There is no suite 'datacomp-39'." in result.err
    assert "datacomp-38@1, " in result.err


def test_showing_loads_no_library_that_evaluates() -> None:
    code = (
        "import sys; from participant_kit.cli import main\n"
        "sys.argv = ['datacup', 'suites', 'show', 'digits']\n"
        "try: main()\n"
        f"finally: print('loaded', *sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stderr.strip() == "loaded"


def _run(folder: Path, competition: str, recipe: Recipe) -> Path:
    """A finished run: random weights of the digits' model, and a report that names the recipe."""
    clip = find_recipe("digits-nano-clip")[1]
    assert clip.kind == "clip"
    random = np.random.default_rng(0)
    weights = {name: random.normal(0, 0.1, shape) for name, (_, shape) in expected_tensors(clip).items()}
    folder.mkdir()
    save_file({name: value.astype(np.float32) for name, value in weights.items()}, folder / "model.safetensors")
    report: dict[str, Any] = {
        "schema_version": 1,
        "competition": competition,
        "recipe": recipe.id,
        "recipe_digest": recipe.digest,
        "seed": 0,
        "steps": 1,
        "samples_seen": 16,
        "final_loss": 1.0,
        "seconds": 1.0,
        "code_version": "0.1.0",
        "data": {"shards": 1, "samples": 16, "digest": "0" * 64, "corrupt_samples": 0},
        "model_sha256": file_sha256(folder / "model.safetensors"),
        "hardware": {"device": "cpu", "threads": 1, "torch_version": "2"},
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:00:01Z",
    }
    (folder / "training_report.json").write_text(json.dumps(report))
    return folder


def test_a_suite_of_predictions_asks_no_model(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", "digits", find_recipe("digits-nano-clip")[1])
    result = refused("evaluate", "--model", run, "--suite", "imagenetv2@1", "--data-dir", tmp_path)
    assert "Nothing of suite imagenetv2@1 is about a model: predictions are what is scored." in result.err
    assert "`datacup evaluate --predictions FILE.npz --suite imagenetv2@1` scores them." in result.err
    assert not (run / "evaluation_report.json").exists()


@pytest.mark.parametrize("recipe", ["digits-nano-supervised", "digits-nano-simclr"])
def test_weights_of_a_clip_model_are_no_image_model(tmp_path: Path, recipe: str) -> None:
    """The model is built from the recipe that the report names, not from what the weights look like."""
    run = _run(tmp_path / "run", "digits", find_recipe(recipe)[1])
    result = refused("evaluate", "--model", run, "--suite", "digits-features", "--data-dir", tmp_path / "sets")
    assert "is of another architecture" in result.err


def test_what_a_model_cannot_answer_is_named_and_the_rest_is_scored(tmp_path: Path) -> None:
    """A competition file whose suite has a task of predictions beside those of a model."""
    text = (CATALOG / "digits" / "competition.yaml").read_text()
    missing = "    - {id: told, title: Told, protocol: predictions, dataset: digits-test, metric: acc1}\n  aggregates:"
    rules = tmp_path / "rules.yaml"
    rules.write_text(text.replace("  aggregates:", missing, 1))
    run = _run(tmp_path / "run", "digits", find_recipe("digits-nano-clip")[1])
    result = typed("evaluate", "--model", str(run), "--suite", str(rules), "--data-dir", str(tmp_path / "sets"))
    assert result.code == 0, result.err
    assert "Unscored, since they ask for predictions and not for a model: told (predictions, acc1)." in result.err
    report = json.loads((run / "evaluation_report.json").read_text())
    assert [task["task"] for task in report["results"]] == [
        "digits-test", "digits-shift", "digits-retrieval", "digits-hidden",
    ]  # fmt: skip


def test_the_commands_of_the_page_run() -> None:
    commands = re.findall(r"^\$ datacup (suites .*)$", TEXT, flags=re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert typed(*shlex.split(command)).code == 0, command


def test_the_page_names_every_suite_protocol_and_rule() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (\d+) \|", TEXT, flags=re.MULTILINE)
    assert {name: int(tasks) for name, tasks in rows} == {suite.id: len(suite.tasks) for suite in all_suites().values()}
    assert [protocol.value for protocol in Protocol if f"`{protocol.value}`" not in TEXT] == []
    rules = {aggregate.rule.kind for suite in all_suites().values() for aggregate in suite.aggregates}
    assert [kind for kind in rules if f"`{kind}`" not in TEXT] == []


def test_the_examples_of_the_page_are_read(tmp_path: Path) -> None:
    from competition.rules import load_competition
    from competition.rules.files import load_suite

    suite, rules = re.findall(r"^```yaml\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    base = ROOT / "competition" / "catalog" / "suites" / "datacomp-40@1.yaml"
    (tmp_path / base.name).write_bytes(base.read_bytes())
    (tmp_path / "shifts@1.yaml").write_text(suite)
    assert [task.id for task in load_suite(tmp_path / "shifts@1.yaml").tasks] == [
        "imagenet-1k",
        "imagenetv2",
        "own-set",
    ]
    path = ROOT / "competition" / "catalog" / "datacomp" / "competition.yaml"
    text = path.read_text(encoding="utf-8")
    for line in rules.splitlines():
        name = line.split(":")[0]
        text = re.sub(rf"^{name}: .*$", line, text, flags=re.MULTILINE)
    own = tmp_path / "own.yaml"
    own.write_text(text)
    competition = load_competition(own)
    assert competition.suite == find_suite("datacomp-40")
    assert len(competition.recipes) == 5
    assert set(all_recipes()) >= {recipe.id for recipe in competition.recipes}
