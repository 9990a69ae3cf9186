"""Every mistake in a pipeline's file is said in one sentence with its line, before anything runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from competition.errors import RulesError
from participant_kit.pipelines.load import load_pipeline
from tests.participant_kit.cli.typed import refused
from tests.participant_kit.pipelines.made import write_pipeline

GOOD = """\
version: 1
pool: pool
steps:
  - name: scored
    run: subset clip_score
    options:
      arch: l14
      fraction: 0.5
  - name: wide
    run: subset where
    options: {condition: original_width > 100}
  - name: both
    run: subset and
    from: [scored, wide]
  - name: twice
    run: subset weights
    from: [both]
    options: {weights: [2]}
"""

MISTAKES: dict[str, tuple[str, str, int, str]] = {
    "a step that does not exist": ("subset clip_score", "subset clip_skore", 5, "there is no 'subset clip_skore'"),
    "an option that does not exist": ("fraction: 0.5", "fractoin: 0.5", 8, "fractoin: Extra inputs are not permitted"),
    "an option of another step": ("fraction: 0.5", "count: 5", 8, "count: Extra inputs are not permitted"),
    "a number in quotes": ("fraction: 0.5", 'fraction: "0.5"', 8, "fraction: Input should be a valid number"),
    "a word for a number": ("fraction: 0.5", "fraction: half", 8, "fraction: Input should be a valid number"),
    "a number for a word": ("arch: l14", "arch: 14", 7, "arch: Input should be a valid string"),
    "an unknown word": ("arch: l14", "arch: l15", 7, "'l15' is unknown; choose one of b32, l14"),
    "a number out of range": ("fraction: 0.5", "fraction: 1.5", 8, "1.5 is not above 0 and at most 1"),
    "not a number": ("fraction: 0.5", "fraction: .nan", 8, "fraction: Input should be a finite number"),
    "a mapping for a number": ("fraction: 0.5", "fraction: {a: 1}", 8, "fraction: Input should be a valid number"),
    "options as a list": ("{weights: [2]}", "[weights]", 18, "options: Input should be a valid dictionary"),
    "a missing option": ("{condition: original_width > 100}", "{}", 11, "condition: Field required"),
    "weights for other steps": ("weights: [2]", "weights: [2, 1]", 18, "there are 2 weights for 1 steps"),
    "a weight out of range": (
        "weights: [2]",
        "weights: [0]",
        18,
        "weights.0: Input should be greater than or equal to 1",
    ),
    "an input that is no step": ("from: [scored, wide]", "from: [scored, tall]", 14, "there is no step 'tall'"),
    "too few inputs": ("from: [scored, wide]", "from: [scored]", 14, "takes at least 2 in `from`; 1 given"),
    "inputs for what reads the pool": (
        "options: {condition",
        "from: [scored]\n    options: {condition",
        11,
        "takes no steps in `from`; 1 given",
    ),
    "inputs as a word": ("from: [both]", "from: both", 17, "from: Input should be a valid list"),
    "a step that takes itself": ("from: [both]", "from: [twice]", 17, "in a circle: twice -> twice"),
    "steps in a circle": (
        "from: [scored, wide]",
        "from: [scored, wide, twice]",
        14,
        "in a circle: both -> twice -> both",
    ),
    "two results": ("from: [scored, wide]", "from: [scored, scored]", 9, "no step takes 'wide' and 'twice'"),
    "a name given twice": ("name: wide", "name: scored", 9, "there is a step 'scored' already"),
    "a name that is none": ("name: wide", "name: Wide One", 9, "name: String should match pattern"),
    "a step without a name": ("- name: wide\n    run", "- run", 9, "name: Field required"),
    "a field that does not exist": ("run: subset and", "runs: subset and", 12, "run: Field required"),
    "no steps": (GOOD[GOOD.index("steps:") :], "steps: []\n", 3, "steps: List should have at least 1 item"),
    "no pool": ("pool: pool\n", "", 1, "pool: Field required"),
    "a pool that is not there": ("pool: pool", "pool: pond", 2, "pond"),
    "a folder that is no pool": ("pool: pool", "pool: pool/metadata", 2, "is no pool: it has no folder 'metadata'"),
    "another version": ("version: 1", "version: 2", 1, "version: Input should be 1"),
    "not YAML": ("steps:", "steps: [", 4, "not valid YAML"),
    "an anchor": ("pool: pool", "pool: &a pool", 2, "anchors"),
    "a key given twice": ("version: 1", "version: 1\nversion: 1", 2, "version is given twice"),
}


def refusal(path: Path) -> str:
    with pytest.raises(RulesError) as caught:
        load_pipeline(path)
    return caught.value.message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_pipeline(tmp_path)


def test_the_pipeline_without_mistakes_is_loaded(path: Path) -> None:
    path.write_text(GOOD)
    pipeline = load_pipeline(path)
    assert [step.name for step in pipeline.steps] == ["scored", "wide", "both", "twice"]
    assert pipeline.pool == path.parent / "pool"


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_said_with_file_and_line(what: str, path: Path) -> None:
    old, new, line, sentence = MISTAKES[what]
    assert GOOD.count(old) == 1
    path.write_text(GOOD.replace(old, new))
    first = refusal(path).splitlines()[0]
    assert first.startswith(f"{path}, line {line}: "), first
    assert sentence in first


def test_the_command_says_it_in_one_sentence_and_leaves_nothing(path: Path) -> None:
    path.write_text(GOOD.replace("clip_score", "magic"))
    result = refused("build", path, "-o", path.parent / "out")
    assert result.code == RulesError.exit_code
    assert "line 5" in result.err
    assert not (path.parent / "out").exists()
    assert "cannot read the pipeline" in refused("build", path.parent / "none.yaml", "-o", "x").err


FILES: dict[str, tuple[str, str, str]] = {
    "references": ("dedup decontaminate", "{references: none.npy}", "options.references: there is no "),
    "a function's file": ("subset function", "{function: 'none.py:keep'}", "options.function: there is no "),
    "a function without a name": ("subset function", "{function: filters.py}", "not of the form FILE.py:NAME"),
    "a subset": ("file", "{path: none.npy}", "options.path: there is no "),
    "classes": ("label substring", "{classes: none.json}", "options.classes: there is no "),
    "centroids in a folder": ("subset image_based", "{centroids: a/none.npy}", "options.centroids: there is no "),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_not_there_is_said_with_its_line(what: str, path: Path) -> None:
    run, options, sentence = FILES[what]
    path.write_text(f"version: 1\npool: pool\nsteps:\n  - name: a\n    run: {run}\n    options: {options}\n")
    message = refusal(path)
    assert message.startswith(f"{path}, line 6: steps.0.")
    assert sentence in message


def test_paths_start_at_the_folder_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    np.save(path.parent / "own.npy", np.zeros(0))
    path.write_text("version: 1\npool: pool\nsteps:\n  - {name: a, run: file, options: {path: own.npy}}\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (step,) = load_pipeline(Path("../pipeline.yaml")).steps
    assert step.operation.assets(step.options) == {"path": Path("../own.npy")}


def test_the_exact_share_is_needed(path: Path) -> None:
    for options in ("{}", "{count: 1, fraction: 0.5}"):
        path.write_text(GOOD.replace("subset weights", "subset sample").replace("{weights: [2]}", options))
        assert "line 18: steps.3.options: exactly one of count and fraction is needed" in refusal(path)
