"""A pipeline can run what the commands can, with the commands' options; each kind of step runs once for real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from competition.data.uids import load_subset, save_subset
from competition.records.lineage import DatasetLineage
from participant_kit.cli import app
from participant_kit.pipelines.load import load_pipeline
from participant_kit.pipelines.operations import RESULT_NAMES
from participant_kit.pipelines.registry import OPERATIONS
from participant_kit.pipelines.run import build
from tests.participant_kit.cli.typed import typed
from tests.participant_kit.pipelines.made import quiet, write_pipeline

COMMAND: Any = typer.main.get_command(app)
NO_STEPS = {
    "subset": {"info", "diff"},
    "dedup": {"describe-images", "neighbours", "page"},
    "label": {"classes"},
}
POSITIONAL = {"condition", "function", "weights", "path"}
OF_THE_PIPELINE = {
    *("--metadata-dir", "--shards-dir", "--save-path", "--within", "--json"),
    *("--num-workers", "-j", "--engine", "--ray-address", "--task-log", "--help"),
}
ELSEWHERE = {"shards", "within_pool"}


def test_all_commands_that_make_a_subset_are_operations() -> None:
    commands = {f"{group} {name}" for group, without in NO_STEPS.items()
                for name in set(COMMAND.commands[group].commands) - without}  # fmt: skip
    assert set(OPERATIONS) == commands | {"file"}


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "file"])
def test_the_options_are_those_of_the_command(name: str) -> None:
    group, command = name.split()
    found = COMMAND.commands[group].commands[command]
    flags = {max(each.opts, key=len) for each in found.params if each.opts[0].startswith("-") and not each.hidden}
    options = {f"--{option.replace('_', '-')}" for option in set(OPERATIONS[name].options.model_fields) - ELSEWHERE}
    taken = {"--labels"} if name in {"label balance", "label prune"} else set()
    assert options - {f"--{option}" for option in POSITIONAL} == flags - OF_THE_PIPELINE - taken


def one_step(folder: Path, run: str, options: dict[str, Any], before: list[str] | None = None) -> Path:
    """A pipeline of one step, perhaps on some rows of the pool."""
    step: dict[str, Any] = {"name": "only", "run": run, "options": options}
    steps = [{"name": "scored", "run": "subset clip_score", "options": {"arch": "l14", "fraction": 0.5}}]
    return write_pipeline(folder, [*steps, step | {"from": ["scored"]}] if before else [step])


@pytest.mark.parametrize("keep", ["best", "first"])
def test_duplicates_within_a_step_are_those_of_the_command_within_a_subset(keep: str, tmp_path: Path) -> None:
    options = {"threshold": 0.9, "num_clusters": 3, "keep": keep}
    built = build(load_pipeline(one_step(tmp_path, "dedup semantic", options, ["x"])), tmp_path / "out", 1, quiet())
    metadata = tmp_path / "pool" / "metadata"
    typed(
        *["subset", "clip_score", "--arch", "l14", "--fraction", "0.5"],
        "--metadata-dir",
        metadata,
        "--save-path",
        tmp_path / "s.npy",
    )
    words = f"dedup semantic --threshold 0.9 --num-clusters 3 --keep {keep}".split()
    result = typed(
        *words, "--metadata-dir", metadata, "--save-path", tmp_path / "d.npy", "--within", tmp_path / "s.npy"
    )
    assert result.code == 0, result.err
    assert built.subset.read_bytes() == (tmp_path / "d.npy").read_bytes()
    step = built.lineage.result
    assert step.dropped["semantic_duplicate"] > 0
    assert step.dropped["not_in_subset"] == step.total - len(load_subset(tmp_path / "s.npy"))
    assert {path.name for path in (tmp_path / "out").glob("dataset.*")} == {
        "dataset.npy",
        "dataset.npy.json",
        "dataset.npy.groups.parquet",
        "dataset.json",
    }


def test_a_labelled_dataset_comes_with_its_table_and_goes_when_the_result_is_another(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(json.dumps([{"id": "0", "names": ["thing"]}, {"id": "1", "names": ["x"]}]))
    path = one_step(tmp_path, "label substring", {"classes": "classes.json", "size": 7, "seed": 5})
    built = build(load_pipeline(path), tmp_path / "out", 1, quiet())
    words = ["--metadata-dir", tmp_path / "pool" / "metadata", "--save-path", tmp_path / "l.parquet"]
    typed(*["label", "substring", "--size", "7", "--seed", "5", "--classes"], tmp_path / "classes.json", *words)
    assert built.subset.read_bytes() == (tmp_path / "l.npy").read_bytes()
    assert (tmp_path / "out" / "dataset.parquet").read_bytes() == (tmp_path / "l.parquet").read_bytes()
    assert built.lineage.result.kept == 7
    assert set(built.lineage.result.assets) == {"classes"}
    build(load_pipeline(one_step(tmp_path, "subset no_filter", {})), tmp_path / "out", 1, quiet())
    assert not (tmp_path / "out" / "dataset.parquet").exists()


def test_texts_from_a_file_and_references_are_among_the_digests(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    (tmp_path / "classes.json").write_text(json.dumps([{"id": "0", "names": ["thing"]}]))
    with np.load(min((tmp_path / "pool" / "metadata").glob("*.npz"))) as arrays:
        np.save(tmp_path / "texts.npy", arrays["l14_txt"][:1].astype(np.float32))
        np.save(tmp_path / "images.npy", arrays["l14_img"][:2].astype(np.float32))
    captions = {"classes": "classes.json", "class_features": "texts.npy", "arch": "l14", "threshold": 0.1}
    kinds: dict[str, tuple[dict[str, Any], set[str]]] = {
        "label retrieve-captions": (captions, {"classes", "class_features"}),
        "dedup decontaminate": ({"references": "images.npy", "features": "l14_img", "threshold": 0.9}, {"references"}),
        "subset simcore": ({"target_features": "images.npy", "num_clusters": 1, "size": 9}, {"target_features"}),
    }
    for run, (options, assets) in kinds.items():
        built = build(load_pipeline(one_step(tmp_path, run, options)), tmp_path / run, 1, quiet())
        assert set(built.lineage.result.assets) == assets
        assert 0 < built.lineage.result.kept < built.lineage.result.total


def test_a_subset_from_elsewhere_is_a_step(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    uids = np.array([(1, 1), (1, 1), (2, 5)], dtype=[("f0", "<u8"), ("f1", "<u8")])
    save_subset(tmp_path / "own.npy", uids)
    built = build(load_pipeline(one_step(tmp_path, "file", {"path": "own.npy"})), tmp_path / "out", 1, quiet())
    assert load_subset(built.subset).tolist() == uids.tolist()
    assert built.lineage.result.options == {"path": "own.npy"}


def test_the_command_prints_what_it_made_and_the_next_time_that_nothing_was(tmp_path: Path) -> None:
    path = one_step(tmp_path, "subset where", {"condition": "clip_l14_similarity_score > 0.3"})
    dry = json.loads(typed("build", path, "-o", tmp_path / "out", "--dry-run", "--json").out)
    assert dry == {"steps": [{"name": "only", "operation": "subset where", "inputs": [], "make": True}]}
    first = typed("build", path, "-o", tmp_path / "out")
    assert first.code == 0, first.err
    assert "made" in first.out
    assert f"-s {tmp_path / 'out' / 'dataset.npy'}" in first.err
    second = json.loads(typed("build", path, "-o", tmp_path / "out", "--json").out)
    assert second["made"] == []
    lineage = DatasetLineage.model_validate_json((tmp_path / "out" / "dataset.json").read_bytes())
    assert second["steps"] == lineage.model_dump(mode="json")["steps"]
    assert "unchanged" in typed("build", path, "-o", tmp_path / "out", "--dry-run").out


def test_names_of_results_are_distinct() -> None:
    assert len(set(RESULT_NAMES)) == len(RESULT_NAMES)
