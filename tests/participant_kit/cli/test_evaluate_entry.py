"""``datacup evaluate --entry-data``: tasks about an entry's images are scored with them, and named without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
from safetensors.numpy import save_file

from competition.data.digests import file_sha256
from competition.evaluation.entry_images import open_entry_images
from competition.records.evaluation import EvaluationReport
from competition.rules import find_competition, find_suite, parse_competition, unsupported
from competition.verification.model import expected_tensors
from tests.competition.evaluation.entries import spread, write_class_folders, write_set, write_shards
from tests.competition.verification.entries import COMPETITION_YAML
from tests.participant_kit.cli.typed import refused, typed

ZEROSHOT = "{id: read, title: Read, protocol: zeroshot_classification, dataset: set, metric: acc1}"
COVERAGE = "{id: coverage, title: Coverage, protocol: class_statistics, dataset: set, metric: coverage_classes}"
LATER = "{id: later, title: Later, protocol: class_statistics, dataset: later, metric: large_share@5}"
CENTRES = "{id: centres, title: Centres, protocol: cler, dataset: set, metric: centres}"
NEIGHBOURS = "{id: near, title: Near, protocol: knn_select, dataset: set, metric: acc1@10}"


def write_rules(folder: Path, *tasks: str) -> Path:
    """A competition whose suite has these tasks."""
    lines = "".join(f"    - {task}\n" for task in tasks)
    ids = ", ".join(task.split(",")[0].removeprefix("{id: ") for task in tasks)
    head, tail = (
        COMPETITION_YAML[: COMPETITION_YAML.index("suite:")],
        COMPETITION_YAML[COMPETITION_YAML.index("phases:") :],
    )
    suite = (
        f"suite:\n  id: tiny\n  version: 1\n  tasks:\n{lines}  aggregates:\n"
        f"    - {{id: average, title: Average, tasks: [{ids}], rule: {{kind: average_rank}}}}\n  primary: average\n"
    )
    path = folder / "rules.yaml"
    path.write_text(head + suite + tail)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run: random weights, and a report that names the recipe."""
    recipe = parse_competition(COMPETITION_YAML.encode(), name="tiny.yaml").recipes[0]
    assert recipe.kind == "clip"
    folder = tmp_path / "run"
    folder.mkdir()
    random = np.random.default_rng(0)
    weights = {name: random.normal(0, 0.1, shape) for name, (_, shape) in expected_tensors(recipe).items()}
    save_file({name: value.astype(np.float32) for name, value in weights.items()}, folder / "model.safetensors")
    report: dict[str, Any] = {
        "schema_version": 1,
        "competition": "tiny",
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
    write_set(tmp_path / "sets" / "set", spread(12))
    return folder


def words(run: Path, rules: Path, *more: str | Path) -> list[str | Path]:
    return ["evaluate", "--model", run, "--suite", rules, "--data-dir", run.parent / "sets", *more]


def report_of(run: Path) -> EvaluationReport:
    return EvaluationReport.model_validate_json((run / "evaluation_report.json").read_bytes())


def test_without_images_their_tasks_are_named_and_the_rest_is_scored(run: Path, tmp_path: Path) -> None:
    rules = write_rules(tmp_path, ZEROSHOT, COVERAGE, CENTRES)
    result = typed(*words(run, rules))
    assert result.code == 0, result.err
    told = " ".join(result.err.split())
    assert (
        "Unscored, since they are about the entry's images (give their folder: --entry-data DIR): "
        "coverage (class_statistics, coverage_classes), centres (cler, centres)." in told
    )
    report = report_of(run)
    assert [found.task for found in report.results] == ["read"]
    assert report.images_digest is None


@pytest.mark.parametrize("write", [write_shards, write_class_folders])
def test_with_images_their_tasks_are_scored(write: Any, run: Path, tmp_path: Path) -> None:
    entry = write(tmp_path / "entry", [0, 0, 0, 3])
    rules = write_rules(tmp_path, ZEROSHOT, COVERAGE, LATER.replace("dataset: later", "dataset: set"))
    result = typed(*words(run, rules, "--entry-data", entry))
    assert result.code == 0, result.err
    assert "Unscored" not in result.err
    report = report_of(run)
    assert {found.task: found.value for found in report.results} | {"read": 0.0} == {
        "read": 0.0,
        "coverage": 2.0,
        "later": 75.0,
    }
    assert [found.interval is None for found in report.results] == [False, True, True]
    assert report.images_digest == open_entry_images(entry).digest
    assert not (run / "evaluation").exists()


@pytest.mark.parametrize("same", [True, False])
def test_kept_results_are_of_the_same_images(same: bool, run: Path, tmp_path: Path) -> None:
    """An evaluation ends at a set that is damaged; what it kept serves these images only."""
    first, second = write_shards(tmp_path / "first", [0, 1]), write_shards(tmp_path / "second", [0, 1, 2])
    rules = write_rules(tmp_path, COVERAGE, LATER)
    (tmp_path / "sets" / "later").mkdir(parents=True, exist_ok=True)
    result = refused(*words(run, rules, "--entry-data", first))
    assert "has 0 folders of classes" in result.err
    (kept,) = (run / "evaluation").rglob("coverage.json")
    kept.write_text(kept.read_text().replace('"value":2.0', '"value":5.0'))
    (tmp_path / "sets" / "later").rmdir()
    write_set(tmp_path / "sets" / "later", spread(12))
    assert typed(*words(run, rules, "--entry-data", first if same else second)).code == 0
    assert report_of(run).results[0].value == (5.0 if same else 3.0)


def test_a_suite_about_images_alone_asks_for_them(run: Path, tmp_path: Path) -> None:
    result = refused(*words(run, write_rules(tmp_path, COVERAGE, NEIGHBOURS)))
    assert "All of suite tiny@1 is about the entry's images." in result.err
    assert "Give their folder: --entry-data DIR" in result.err


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            tuple("abcdef"),
            "The entry's class folder 'a' is no class of the evaluation set set, whose first is 'level 0'",
        ),
        ((".a", ".b", ".c", ".d", ".e", ".f"), "holds no image"),
    ],
)
def test_an_entry_that_does_not_fit_is_one_sentence(
    names: tuple[str, ...], sentence: str, run: Path, tmp_path: Path
) -> None:
    entry = write_class_folders(tmp_path / "entry", spread(6), names=names)
    result = refused(*words(run, write_rules(tmp_path, COVERAGE), "--entry-data", entry))
    assert sentence in " ".join(result.err.split())
    missing = refused(*words(run, write_rules(tmp_path, COVERAGE), "--entry-data", tmp_path / "nowhere"))
    assert "There is no folder" in missing.err


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (CENTRES, "The weights 'openai' of ViT-B-32 cannot be downloaded"),
        (NEIGHBOURS, "The weights dino_resnet50_pretrain are not at"),
    ],
)
def test_fixed_models_that_are_not_at_hand_are_one_sentence(
    asked: str, sentence: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was evaluated before is kept."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    entry = write_shards(tmp_path / "entry", spread(12))
    result = refused(*words(run, write_rules(tmp_path, COVERAGE, asked), "--entry-data", entry))
    assert sentence in " ".join(result.err.split())
    assert list((run / "evaluation").rglob("coverage.json"))


def test_suites_about_images_are_not_scored_by_the_service() -> None:
    """The scorer gets a model; that of an entry's images is said of every suite that asks for them."""
    for name, asks in (("digits", False), ("select", True), ("genbench", True)):
        said = any("tasks about an entry's images" in reason for reason in unsupported(find_competition(name)))
        assert said == asks == any(task.needs_images for task in find_suite(name).tasks)
