"""A competition of one's own, in a YAML file: every command takes it, and what one suggests next works with it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from statistics import fmean

import pytest
import typer.main

from competition.data.shards import write_shard
from competition.data.uids import save_subset
from participant_kit.cli import app
from tests.competition.verification.entries import COMPETITION_YAML, pool_array, write_evaluation_sets, write_pool
from tests.participant_kit.cli.typed import Typed, refused, typed
from tests.participant_kit.train.conftest import make_sample


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a competition's file and shards to train on."""
    monkeypatch.chdir(tmp_path)
    Path("my rules.yaml").write_text(COMPETITION_YAML)
    monkeypatch.setenv("DATACUP_CACHE", "cache")
    write_evaluation_sets(Path("cache", "evaluation"))
    Path("shards").mkdir()
    write_shard(Path("shards"), 0, [make_sample(number) for number in range(16)])
    return tmp_path


def train(*words: str) -> Typed:
    return typed("train", *words, "--data-dir", "shards", "--output-dir", "runs", "--exp-name", "mine")


def test_a_recipe_is_looked_up_in_the_competition_that_is_given(folder: Path) -> None:
    done = train("--competition", "my rules.yaml", "--recipe", "tiny-nano", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["competition"], report["recipe"]) == ("tiny", "tiny-nano")


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (
            ["--competition", "my rules.yaml", "--recipe", "digits-nano-clip"],
            "'tiny' has no recipe 'digits-nano-clip'",
            "tiny-n",
        ),
        (["--recipe", "tiny-nano"], "There is no recipe 'tiny-nano'", "digits-micro-clip, digits-nano-"),
    ],
)
def test_a_recipe_of_another_competition_is_not_taken(words: list[str], sentence: str, hint: str, folder: Path) -> None:
    result = refused("train", *words, "--data-dir", "shards", "--output-dir", "runs", "--exp-name", "mine")
    assert sentence in result.err
    assert hint in result.err
    assert not Path("runs").exists()


def following(done: Typed) -> list[str]:
    """The words of the command that is suggested next, after its name."""
    assert done.code == 0, done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("Next: ")]
    return shlex.split(line)[2:]


def test_what_is_suggested_after_training_and_evaluation_works_as_it_is(folder: Path) -> None:
    words = following(train("--competition", "my rules.yaml", "--scale", "nano"))
    assert words[0] == "evaluate"
    evaluated = typed(*words)
    name, *rest = following(evaluated)
    assert name == "submit"
    results = json.loads(Path("runs/mine/evaluation_report.json").read_text())["results"]
    (shown,) = re.findall(r"^Average +(\d\.\d{4}) \[", evaluated.out, flags=re.MULTILINE)
    assert float(shown) == pytest.approx(fmean(result["value"] for result in results), abs=5.1e-5)
    submit = typer.main.get_command(app).commands["submit"]  # type: ignore[attr-defined]
    given = submit.make_context("submit", rest).params
    assert (given["competition"], given["scale"], given["run_dir"]) == ("my rules.yaml", "nano", Path("runs/mine"))
    alone = refused("evaluate", "--train-output-dir", "runs/mine")
    assert "The run is of competition 'tiny', which is not built in." in alone.err
    assert "--suite FILE" in alone.err


def test_a_subset_with_uids_of_another_pool_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody answers at these addresses, and nobody is asked.
    for name in ("DATACUP_ENDPOINT", "HF_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("DATACUP_TOKEN", "HF_TOKEN"):
        monkeypatch.setenv(name, "any")
    words = following(typed(*following(train("--competition", "my rules.yaml", "--scale", "nano"))))
    write_pool(Path())
    foreign = pool_array()[:3].copy()
    foreign["f1"][2] += 1
    save_subset(Path("SUBSET.npy"), foreign)
    words[words.index("REPO")] = "ada/tiny"
    words[words.index("POOL/metadata")] = "tiny-pool/metadata"
    result = refused(*words)
    assert result.code == 10
    assert "subset.npy: 1 of 3 uids are not in pool 'tiny-pool'" in result.err
